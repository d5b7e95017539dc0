"""What people decided on labels is applied to every source, and the pictures of the source stay as they are."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.core.params import Base
from darkroom.download import ledger
from darkroom.download.ledger import Decision
from stages import download
from tests.helpers.pictures import bytes_by_name, download_params, photograph, save

pytestmark = pytest.mark.usefixtures("single_process")


@pytest.fixture
def incoming(workspace):
    """Four cats and four dogs."""
    folder = workspace / "data/incoming"
    for number in range(8):
        save(folder / ("cat", "dog")[number % 2] / f"{number}.png", np.asarray(photograph(number)))
    return folder


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def decide(path, decision, label="", author="Ada", minute=0):
    time = f"2026-01-31T12:{minute:02d}:00Z"
    ledger.append(download.DECISIONS, Decision(md5(path), decision, label, author, time, ""))


def run(workspace, **changes):
    """The names in data/raw, the report, and the rows of reports/groups.csv by picture."""
    download.main(Base(seed=1), download_params(**changes))
    report = json.loads((workspace / "reports/dataset.json").read_text())
    rows = {row["picture"]: row for row in read_csv(workspace / "reports/groups.csv")}
    return sorted(bytes_by_name(workspace / "data/raw")), report, rows


def test_each_kind_of_decision(incoming, workspace):
    before = bytes_by_name(incoming)
    decide(incoming / "cat/0.png", "relabel", "dog")
    decide(incoming / "cat/2.png", "drop")
    decide(incoming / "dog/1.png", "confirm", "dog")
    decide(incoming / "dog/3.png", "relabel", "a new class")
    decide(incoming / "dog/5.png", "relabel", "cat")
    decide(incoming / "dog/5.png", "revert", minute=1)
    names, report, rows = run(workspace)
    assert names == [
        "train/a new class/3__dog.png",
        *("train/cat/4.png", "train/cat/6.png"),
        *("train/dog/0__cat.png", "train/dog/1.png", "train/dog/5.png", "train/dog/7.png"),
    ]
    assert bytes_by_name(incoming) == before
    assert (workspace / "data/raw/train/dog/0__cat.png").read_bytes() == before["cat/0.png"]
    assert report["classes"] == {"a new class": 1, "cat": 2, "dog": 4}
    assert (report["found"], report["kept"]) == (8, 7)
    assert report["dropped"] == [{"path": "train/cat/2.png", "reason": "dropped by a decision"}]
    counts = {"confirm": 1, "relabel": 2, "label": 0, "drop": 1, "without_picture": 0, "contradictions": []}
    assert report["decisions"] == counts
    decisions = {name: (row["decision"], row["source"]) for name, row in rows.items() if row["decision"]}
    assert decisions == {
        "train/a new class/3__dog.png": ("relabel", "train/dog/3.png"),
        "train/cat/2.png": ("drop", ""),
        "train/dog/0__cat.png": ("relabel", "train/cat/0.png"),
        "train/dog/1.png": ("confirm", ""),
    }
    assert set(rows) == {*names, "train/cat/2.png"}


def test_a_decision_says_which_label_of_the_same_picture_is_right(incoming, workspace):
    shutil.copy(incoming / "cat/0.png", incoming / "dog/again.png")
    assert not {"train/cat/0.png", "train/dog/again.png"} & set(run(workspace, on_bad="drop")[0])
    decide(incoming / "cat/0.png", "confirm", "cat")
    names, report, _ = run(workspace)
    assert "train/cat/0.png" in names
    assert "train/dog/again.png" not in names
    assert report["dropped"][0]["reason"].startswith("the same picture as train/cat/")


def test_a_decision_holds_for_the_same_pixels_in_another_file(incoming, workspace):
    Image.open(incoming / "cat/0.png").save(incoming / "dog/again.png", compress_level=0)
    assert md5(incoming / "cat/0.png") != md5(incoming / "dog/again.png")
    decide(incoming / "dog/again.png", "confirm", "dog")
    names, report, _ = run(workspace)
    assert "train/dog/again.png" in names
    assert report["dropped"] == [{"path": "train/cat/0.png", "reason": "the same picture as train/dog/again.png"}]
    decide(incoming / "dog/again.png", "drop", minute=1)
    names, _, _ = run(workspace)
    assert not {"train/cat/0.png", "train/dog/again.png"} & set(names)


def test_two_who_decided_differently_on_the_same_pixels_are_told(incoming, workspace):
    Image.open(incoming / "cat/0.png").save(incoming / "dog/again.png", compress_level=0)
    decide(incoming / "cat/0.png", "confirm", "cat")
    decide(incoming / "dog/again.png", "confirm", "dog", author="Grace")
    with pytest.raises(UserError, match=r"the same picture as train/dog/again\.png: which label is right"):
        run(workspace)


def test_contradictions_are_reported_and_the_latest_holds(incoming, workspace):
    decide(incoming / "cat/0.png", "confirm", "cat", author="Ada")
    decide(incoming / "cat/0.png", "relabel", "dog", author="Grace", minute=1)
    _, report, _ = run(workspace)
    (contradiction,) = report["decisions"]["contradictions"]
    assert contradiction["picture"] == "train/dog/0__cat.png"
    assert [each["author"] for each in contradiction["decisions"]] == ["Ada", "Grace"]


def test_decisions_on_pictures_that_are_gone_are_counted(incoming, workspace):
    decide(incoming / "cat/0.png", "relabel", "dog")
    (incoming / "cat/0.png").unlink()
    names, report, _ = run(workspace)
    assert len(names) == 7
    assert report["decisions"]["without_picture"] == 1


def test_a_decision_replaces_no_other_picture_within_the_limit(incoming, workspace):
    before, _, _ = run(workspace, limit_per_class=3)
    name = next(name for name in before if "/cat/" in name)
    decide(workspace / "data/raw" / name, "drop")
    other = next(name for name in before if "/dog/" in name)
    decide(workspace / "data/raw" / other, "relabel", "cat")
    after, _, _ = run(workspace, limit_per_class=3)
    stem = other.rsplit("/", 1)[1].removesuffix(".png")
    assert set(after) == {*before, f"train/cat/{stem}__dog.png"} - {name, other}


def test_a_class_that_is_not_chosen(incoming, workspace):
    decide(incoming / "cat/0.png", "relabel", "bird")
    names, report, _ = run(workspace, classes=["cat", "dog"])
    assert len(names) == 7
    assert report["classes"] == {"cat": 3, "dog": 4}


def test_a_class_may_lose_all_its_pictures(incoming, workspace):
    for path in sorted((incoming / "cat").iterdir()):
        decide(path, "relabel", "dog")
    _, report, _ = run(workspace)
    assert report["classes"] == {"dog": 8}


def test_a_name_that_is_taken_is_not_overwritten(incoming, workspace):
    save(incoming / "dog/0__cat.png", np.asarray(photograph(20)))
    decide(incoming / "cat/0.png", "relabel", "dog")
    names, report, _ = run(workspace, on_bad="drop")
    assert report["dropped"] == [{"path": "train/cat/0.png", "reason": "train/dog/0__cat.png is another file"}]
    assert (workspace / "data/raw/train/dog/0__cat.png").read_bytes() == (incoming / "dog/0__cat.png").read_bytes()
    assert len(names) == 8


def test_pictures_that_were_labelled_join_train(incoming, workspace):
    folder = workspace / "data/unlabelled"
    for number in range(3):
        save(folder / "deeper" / f"{number}.png", np.asarray(photograph(30 + number)))
    (folder / ".hidden").write_text("not a picture")
    decide(folder / "deeper/1.png", "label", "cat")
    decide(folder / "deeper/2.png", "drop")
    names, report, rows = run(workspace)
    name = f"train/cat/1__{md5(folder / 'deeper/1.png')[:8]}.png"
    assert len(names) == 9
    assert name in names
    assert rows[name]["decision"] == "label"
    assert rows[name]["source"] == f"unlabelled/{name.removeprefix('train/')}"
    assert report["decisions"]["label"] == 1
