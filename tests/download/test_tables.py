"""Tables of pictures as they are found in the wild, each with what must be understood, or the sentence."""

import re
import shutil
import zipfile

import pytest

from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.core.params import Base
from darkroom.download import sources
from darkroom.split.params import Params as SplitParams
from stages import download, split
from tests.download.test_layouts import found
from tests.helpers.pictures import bytes_by_name, download_params
from tests.helpers.small_sets import files_in, write_layout, zip_layout
from tests.helpers.split_files import group_rows
from tests.helpers.table_files import (
    FLAT,
    FOLDERS,
    away,
    binary,
    deep_ids,
    embedded,
    kaggle,
    metadata_in_parts,
    missing_rows,
    plain,
    rows_of,
    with_parts,
    write_csv,
    write_jsonl,
    write_parquet,
)

pytestmark = pytest.mark.usefixtures("single_process")
BOTH_CLASSES = "train: cat 9, dog 8"
IN_PARTS = "train: cat 8, dog 8; val: cat 2, dog 2; test: cat 2, dog 2"
UNDERSTOOD = {
    "class folders": (plain(FOLDERS), BOTH_CLASSES),
    "flat folder": (plain(FLAT), BOTH_CLASSES),
    "tab": (plain(FLAT, write=lambda *a: write_csv(*a, delimiter="\t"), name="labels.tsv"), BOTH_CLASSES),
    "semicolon": (plain(FLAT, write=lambda *a: write_csv(*a, delimiter=";")), BOTH_CLASSES),
    "UTF-8 with a mark": (plain(FLAT, write=lambda *a: write_csv(*a, encoding="utf-8-sig")), BOTH_CLASSES),
    "UTF-16": (plain(FLAT, write=lambda *a: write_csv(*a, encoding="utf-16")), BOTH_CLASSES),
    "Latin": (
        plain(FLAT, change=lambda p, c: (p, f"Käfer {c}"), write=lambda *a: write_csv(*a, encoding="cp1252")),
        "train: Käfer cat 9, Käfer dog 8",
    ),
    "JSON Lines": (plain(FLAT, write=write_jsonl, name="labels.jsonl"), BOTH_CLASSES),
    "Parquet": (plain(FLAT, write=write_parquet, name="labels.parquet"), BOTH_CLASSES),
    "no header": (plain(FLAT, header=None), BOTH_CLASSES),
    "Image Path, Class Name": (plain(FLAT, header=("Image Path", "Class Name")), BOTH_CLASSES),
    "without suffix": (plain(FLAT, change=lambda p, c: (p.removesuffix(".png"), c)), BOTH_CLASSES),
    "without folder": (plain(FLAT, change=lambda p, c: (p.split("/")[1], c)), BOTH_CLASSES),
    "backslashes": (plain(FLAT, change=lambda p, c: (p.replace("/", "\\"), c)), BOTH_CLASSES),
    "absolute paths of another machine": (plain(FLAT, change=lambda p, c: (f"/home/ann/{p}", c)), BOTH_CLASSES),
    "./": (plain(FLAT, change=lambda p, c: (f"./images/../{p}", c)), BOTH_CLASSES),
    "01 is not 1": (plain(FLAT, change=lambda p, c: (p, {"cat": "01", "dog": "1"}[c])), "train: 01 9, 1 8"),
    "no, yes": (plain(FLAT, change=lambda p, c: (p, {"cat": "no", "dog": "yes"}[c])), "train: no 9, yes 8"),
    "1e3, NA": (plain(FLAT, change=lambda p, c: (p, {"cat": "1e3", "dog": "NA"}[c])), "train: 1e3 9, NA 8"),
    "numbers in JSON": (
        plain(FLAT, change=lambda p, c: (p, {"cat": 0, "dog": 1}[c]), write=write_jsonl, name="x.jsonl"),
        "train: 0 9, 1 8",
    ),
    "truth in Parquet": (
        plain(FLAT, change=lambda p, c: (p, c == "cat"), write=write_parquet, name="x.parquet"),
        "train: false 8, true 9",
    ),
    "a slash in a label": (
        plain(FLAT, change=lambda p, c: (p, {"cat": "cat/kitten"}.get(c, c))), "train: cat_kitten 9, dog 8"
    ),
    "Hugging Face's Parquet": (embedded, "train: cat 9, dog 8; test: cat 4, dog 4"),
    "bytes": (binary, BOTH_CLASSES),
    "Kaggle": (kaggle, BOTH_CLASSES),
    "metadata.csv in parts": (metadata_in_parts, "train: cat 9, dog 8; test: cat 4, dog 4"),
    "ids of pictures in several folders": (deep_ids, "train: mel 8, nv 9"),
    "rows without pictures": (missing_rows, "train: cat 9, dog 6"),
    "pictures elsewhere": (away, "train: a 9, b 8"),
    "parts": (with_parts(("train", "val", "test")), IN_PARTS),
    "parts in words": (with_parts(("TRAINING", "Validation", "Test set"), "Usage"), IN_PARTS),
    "named parts": (with_parts(("a", "b", "c"), parts={"train": "a", "val": ["b"], "test": "c"}), IN_PARTS),
    "no parts after all": (with_parts(("x", "y", "z"), "set"), "train: cat 12, dog 12"),
    "columns by name": (
        plain(FLAT, header=("a b", "c"), change=lambda p, c: (p, c)), BOTH_CLASSES
    ),
}  # fmt: skip
SETTINGS = {"columns by name": {"table": {"picture": "a b", "label": "c"}}}


def read(folder, tmp_path, settings):
    """Collect a source and split it."""
    settings = {"source": "table", "path": str(folder), "on_bad": "drop"} | settings
    if not settings["path"].startswith("/"):
        settings["path"] = str(folder / settings["path"])
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    params = download_params(**settings)
    source = sources.read(params, scratch)
    _, report = download.collect(source.files, tmp_path / "raw", params, seed=1)
    return (
        source,
        report,
        split.split(tmp_path / "raw", group_rows(tmp_path / "raw"), SplitParams(ratio=[0.6, 0.2, 0.2]), 1).assignment,
    )


@pytest.mark.parametrize("case", UNDERSTOOD)
def test_a_table_is_understood(case, tmp_path):
    make, outcome = UNDERSTOOD[case]
    settings = make(tmp_path / "in") | SETTINGS.get(case, {})
    notes = settings.pop("notes", [])
    source, report, assignment = read(tmp_path / "in", tmp_path, settings)
    assert found(tmp_path / "raw") == outcome
    assert report["found"] == report["kept"] + len(report["dropped"])
    assert len(assignment) == report["kept"]
    for note in notes:
        assert any(line.startswith(note) for line in source.details["notes"]), source.details["notes"]
    left = source.details["rows_left_out"] + source.details["pictures_without_row"]
    assert left == len(report["dropped"])


@pytest.mark.parametrize("case", ["class folders", "Kaggle", "Hugging Face's Parquet", "metadata.csv in parts"])
def test_a_table_in_an_archive(case, tmp_path):
    make, outcome = UNDERSTOOD[case]
    settings = make(tmp_path / "in")
    settings.pop("notes", None)
    archive = shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path / "in")
    source, _, _ = read(tmp_path / "in", tmp_path, settings | {"path": archive})
    assert found(tmp_path / "raw") == outcome
    assert "scratch" not in source.description + "".join(source.details["notes"])


def test_one_set_in_five_forms_is_the_same_to_the_last_byte(tmp_path):
    """Class folders, CSV, JSON Lines, Parquet, and Parquet with the pictures' bytes: the same files, the same split."""
    layout = "cat/x 9, cat 2, dog 8"
    pictures, rows = files_in(layout), rows_of(layout)
    write_layout(tmp_path / "folder", layout)
    for kind, write in (("csv", write_csv), ("jsonl", write_jsonl), ("parquet", write_parquet)):
        write_layout(tmp_path / kind / "store", layout)
        write(tmp_path / kind / f"t.{kind}", ("path", "label"), [(f"store/{name}", label) for name, label in rows])
    data = [({"bytes": pictures[name], "path": name}, label) for name, label in rows]
    write_parquet(tmp_path / "bytes/t.parquet", ("image", "label"), data)
    results = []
    for form in ("folder", "csv", "jsonl", "parquet", "bytes"):
        (tmp_path / f"out-{form}").mkdir()
        settings = {"source": "folder"} if form == "folder" else {}
        assignment = read(tmp_path / form, tmp_path / f"out-{form}", settings)[2]
        results.append((bytes_by_name(tmp_path / f"out-{form}/raw"), assignment))
    assert len(results[0][0]) == 19
    assert all(result == results[0] for result in results[1:])


def bad(header, rows, name="labels.csv", **settings):
    def make(folder):
        write_layout(folder, FLAT)
        write_csv(folder / name, header, rows)
        return settings

    return make


def beside(folder):
    """DVC would hash the table alone."""
    plain(FLAT)(folder)
    return {"path": "labels.csv"}


def words(data, name):
    def make(folder):
        folder.mkdir()
        (folder / name).write_bytes(data)
        return {}

    return make


FILES = [f"images/cat{number}.png" for number in range(1, 10)]
REFUSED = [
    (
        bad(("file", "colour"), [(name, "x") for name in FILES]),
        "it has no column of labels (columns: file, colour); if one is, name it in download.table.label",
    ),
    (bad(("x", "label"), [("1", "x")]), "it has no column of pictures (columns: x, label)"),
    (
        bad(("file", "label"), [("none.png", "cat")] * 3),
        "no row can be used, for example: none.png: there is no such file",
    ),
    (bad(("file", "label"), []), "no row can be used, for example: it has no rows"),
    (bad(("file", "label"), [("https://x.org/1.png", "cat")]), "the table gives an address on the web"),
    (bad(("file", "label"), [("../../in/x.png", "cat")]), "there is no such file"),
    (
        bad(("file", "label"), [(name, "x") for name in FILES], table={"label": "lable"}),
        "download.table.label: labels.csv has no column lable, but file, label",
    ),
    (
        bad(("file", "label", "p"), [(name, "x", "q") for name in FILES], table={"part": "p"}),
        "'q' in column p is not a part: say which values are, such as download.parts",
    ),
    (bad(("file", "label"), [(FILES[0], "a/b"), (FILES[1], "a_b")]), "have the same folder name: a_b"),
    (beside, "labels.csv names pictures beside it, and DVC would not notice when they change: set download.path to"),
    (
        bad(("file", "label"), [(name, "x") for name in FILES], path="labels.csv", pictures="images"),
        "download.pictures images is not a folder, here or in",
    ),
    (words(b"", "x.csv"), "x.csv is empty"),
    (words(b"PAR1no", "x.parquet"), "x.parquet cannot be read as a table"),
    (words(b'{"a": 1}\nno\n', "x.jsonl"), "x.jsonl, line 2, is not JSON"),
    (words(b"x", "x.txt"), "holds no table"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSED)
def test_other_tables_are_refused_with_the_remedy(make, sentence, tmp_path):
    settings = make(tmp_path / "in")
    with pytest.raises(UserError) as error:
        read(tmp_path / "in", tmp_path, settings)
    assert sentence in str(error.value)


def test_pictures_where_dvc_does_not_look_are_refused(workspace):
    """The remedy, the folder of both, works."""
    write_layout(workspace / "store", FLAT)
    write_csv(workspace / "store/tables/t.csv", ("file", "label"), rows_of(FLAT))
    for pictures in ("store", "store/images"):
        params = download_params(source="table", path="store/tables/t.csv", pictures=pictures)
        with pytest.raises(UserError) as error:
            sources.read(params, workspace)
        remedy = re.search(r"set download.path to (.*), which has", str(error.value))[1]
        assert remedy == str(workspace / "store")
    params = download_params(source="table", path=remedy, pictures="store/images")
    assert len(list(sources.read(params, workspace).files)) == 17


def test_a_table_never_leads_outside(tmp_path):
    """Absolute paths, `..` and links in an archive find only what was unpacked."""
    write_layout(tmp_path, "secret/cat 9")
    zip_layout(tmp_path / "set.zip", FLAT)
    with zipfile.ZipFile(tmp_path / "set.zip", "a") as archive:
        rows = [f"{tmp_path}/secret/cat/1.png,cat", "../secret/cat/2.png,dog", "images/cat1.png,cat"]
        archive.writestr("labels.csv", "\n".join(["file,label", *rows]))
    params = download_params(source="table", path=str(tmp_path / "set.zip"), on_bad="drop")
    (tmp_path / "scratch").mkdir()
    files = list(sources.read(params, tmp_path / "scratch").files)
    assert [isinstance(file.content, UserError) for file in files[:3]] == [True, True, False]


@pytest.mark.parametrize("method", ["ratio", "stable"])
def test_a_patients_pictures_stay_together(method, workspace):
    """The group goes from the table through reports/groups.csv into the split."""
    layout = "images/cat*.png 60, images/dog*.png 60"
    write_layout(workspace / "data/incoming", layout)
    rows = [(path, label, f"p{number // 6}") for number, (path, label) in enumerate(rows_of(layout))]
    write_csv(workspace / "data/incoming/labels.csv", ("file", "label", "patient_id"), rows)
    download.main(Base(seed=1), download_params(source="table", path="data/incoming/labels.csv"))
    split.main(Base(seed=1), SplitParams(method=method, ratio=[0.4, 0.3, 0.3]))
    part_of = {row["picture"].split("/")[-1]: row["split"] for row in read_csv(workspace / "reports/split.csv")}
    parts = {(patient, part_of[path.split("/")[-1]]) for path, _, patient in rows}
    assert (len(part_of), len(parts)) == (120, 20)
