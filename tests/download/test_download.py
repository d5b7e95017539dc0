"""The stage as a whole, on a few photographs."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.core.hashing import sha256
from darkroom.core.params import Base
from darkroom.download import inspection
from darkroom.download.selection import Selection
from darkroom.download.validation import Checked
from darkroom.images.decode import decode
from stages import download
from tests.helpers.archive_files import zipped
from tests.helpers.odd_files import photo
from tests.helpers.pictures import download_params, photograph, save
from tests.helpers.source_files import files_of

pytestmark = pytest.mark.usefixtures("single_process")


@pytest.fixture
def mixed(tmp_path):
    """A folder with good pictures and several kinds of bad files."""
    for number in range(12):
        save(tmp_path / "in" / ("a" if number < 6 else "b") / f"{number}.png", photo(number))
    whole = (tmp_path / "in/a/0.png").read_bytes()
    bad = {"truncated.png": whole[: len(whole) // 2], "empty.png": b"", "text.jpg": b"not a picture", ".hidden": b"x"}
    for name, data in bad.items():
        (tmp_path / "in/a" / name).write_bytes(data)
    (tmp_path / "in/b/deeper").mkdir()
    Image.fromarray(photo(20)).save(tmp_path / "in/b/deeper/really_jpeg.png", "JPEG")
    return tmp_path / "in"


def test_bad_files_are_dropped_with_their_reason(mixed, tmp_path):
    _, report = download.collect(files_of("folder", mixed), tmp_path / "out", download_params(on_bad="drop"), seed=1)
    reasons = {item["path"]: item["reason"] for item in report["dropped"]}
    assert list(reasons) == ["train/a/empty.png", "train/a/text.jpg", "train/a/truncated.png"]
    assert reasons["train/a/empty.png"] == "empty file"
    assert reasons["train/a/text.jpg"] == "not a picture of a known format"
    assert reasons["train/a/truncated.png"].startswith("cannot be decoded (")
    assert (report["found"], report["kept"], report["classes"]) == (16, 13, {"a": 6, "b": 7})
    assert report["named_wrongly"] == ["train/b/deeper__really_jpeg.png"]
    assert (tmp_path / "out/train/b/deeper__really_jpeg.png").exists()


def test_bad_files_can_be_refused(mixed, tmp_path):
    with pytest.raises(UserError, match=r"train/a/empty.png: empty file \(download.on_bad is fail\)"):
        download.collect(files_of("folder", mixed), tmp_path / "out", download_params(), seed=1)


def test_the_report_names_near_duplicates(workspace, capsys):
    """Two versions of a photograph under two labels are kept, and reported."""
    for number in range(8):
        save(workspace / "data/incoming" / "ab"[number % 2] / f"{number}.png", np.asarray(photograph(number)))
    photograph(0).save(workspace / "data/incoming/b/again.jpg", quality=50)
    download.main(Base(seed=1), download_params(near_duplicates=0.9))
    report = json.loads((workspace / "reports/dataset.json").read_text())
    assert report["near_duplicates_with_two_labels"] == [["train/a/0.png", "train/b/again.jpg"]]
    assert "1 groups of near-duplicates have two labels or more" in capsys.readouterr().out
    groups = {row["picture"]: row for row in read_csv(workspace / "reports/groups.csv")}
    assert len(groups) == 9
    assert {name for name, row in groups.items() if row["group"]} == {"train/a/0.png", "train/b/again.jpg"}
    assert all(int(row["hash"], 16) < 2**64 for row in groups.values())
    names = {path.name for path in (workspace / "reports/dataset").iterdir()}
    assert names == {"classes.png", "sizes.png", "a.jpg", "b.jpg"}
    with Image.open(workspace / "reports/dataset/a.jpg") as sheet:
        assert sheet.width > 4 * 96
    assert [path.name for path in (workspace / "data").iterdir() if path.name.startswith(".")] == []
    raw = workspace / "data/raw"
    (raw / "test/b").mkdir(parents=True)
    shutil.copy(workspace / "data/incoming/a/2.png", raw / "test/b/exactly.png")
    names = sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*.*"))
    measures = [measure.tobytes() for measure in inspection.measure_files([raw / name for name in names])]
    pictures = [
        Checked(name, *name.split("/")[:2], None, measures=each) for name, each in zip(names, measures, strict=True)
    ]
    download.describe(raw, Selection(pictures, [], {}, {}, set()), None)  # identical pictures are always a group
    groups = {row["picture"]: row["group"] for row in read_csv(workspace / "reports/groups.csv") if row["group"]}
    assert set(groups) == {"train/a/2.png", "test/b/exactly.png"}


def test_an_archive_is_unpacked_only_for_the_run_and_verified(workspace):
    for number in range(8):
        save(workspace / f"{number}.png", photo(number))
    files = {f"set/{'ab'[number % 2]}/{number}.png": (workspace / f"{number}.png").read_bytes() for number in range(8)}
    (workspace / "data").mkdir()
    archive = zipped(workspace / "data/set.zip", files)
    for source in ("archive", "folder"):
        params = download_params(source=source, path="data/set.zip", sha256=sha256(archive))
        download.main(Base(seed=1), params)
        assert json.loads((workspace / "reports/dataset.json").read_text())["classes"] == {"a": 4, "b": 4}
        assert {path.name for path in (workspace / "data").iterdir()} == {"raw", "set.zip"}
    assert (decode(workspace / "data/raw/train/a/0.png") == photo(0)).all()
    with pytest.raises(UserError, match=r"data/set.zip has SHA-256 .*, but download.sha256 is 000"):
        download.main(Base(seed=1), params.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(UserError, match=r"there is no archive data/none.zip"):
        download.main(Base(seed=1), download_params(source="archive", path="data/none.zip"))
    assert (workspace / "data/raw/train/a/0.png").exists()  # the last result stays
