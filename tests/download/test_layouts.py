"""Layouts as they are found in the wild, each with what must be understood, or the question that must be asked.

Each is read as a folder and as an archive, by the functions of the stages `download` and `split`.
"""

import re

import pytest

from darkroom.core.errors import UserError
from darkroom.download import sources
from darkroom.split.params import Params as SplitParams
from stages import download, split
from tests.helpers.pictures import download_params
from tests.helpers.small_sets import write_layout, zip_layout
from tests.helpers.split_files import group_rows

pytestmark = pytest.mark.usefixtures("single_process")

# Layout, settings, and the pictures of each class in each part.
UNDERSTOOD = [
    # class folders, alone and wrapped
    ("cat 9, dog 8", {}, "train: cat 9, dog 8"),
    ("pets/cat 9, pets/dog 8", {}, "train: cat 9, dog 8"),
    ("PetImages/Cat 9, PetImages/Dog 8, readme[1].txt 0, MSR-LA - 3467.docx 0", {}, "train: Cat 9, Dog 8"),
    ("a/b/c/cat 9, a/b/c/dog 8, a/LICENSE 0, a/b/notes.md 0", {}, "train: cat 9, dog 8"),
    ("pets/cat 9, pets/dog 8, preview*.png 1", {}, "train: cat 9, dog 8"),
    ("images/cat 9, images/dog 8, annotations/*.xml 0, docs/index.html 0", {}, "train: cat 9, dog 8"),
    ("cat/2019 5, cat/2020/01 4, dog/2020 8", {}, "train: cat 9, dog 8"),
    ("cat/cat 9, dog/dog 8", {}, "train: cat 9, dog 8"),
    ("cat/session 9, dog/session 8", {}, "train: cat 9, dog 8"),
    ("cat/indoor 5, cat 4, dog/indoor 4, dog/outdoor 4", {}, "train: cat 9, dog 8"),
    ("0 9, 1 8", {}, "train: 0 9, 1 8"),
    ("no 9, yes 8", {}, "train: no 9, yes 8"),
    # parts in every spelling
    ("train/cat 9, train/dog 8, test/cat 4, test/dog 4", {}, "train: cat 9, dog 8; test: cat 4, dog 4"),
    (
        "training_set/training_set/cats 9, training_set/training_set/dogs 8, test_set/test_set/cats 4, "
        "test_set/test_set/dogs 4",
        {},
        "train: cats 9, dogs 8; test: cats 4, dogs 4",
    ),
    (
        "seg_train/seg_train/sea 9, seg_train/seg_train/ice 8, seg_test/seg_test/sea 4, seg_test/seg_test/ice 4, "
        "seg_pred/seg_pred 5",
        {},
        "train: ice 8, sea 9; test: ice 4, sea 4",
    ),
    ("Training/a 9, Training/b 8, TESTING/a 4, TESTING/b 4", {}, "train: a 9, b 8; test: a 4, b 4"),
    (
        "Train/a 9, Train/b 8, Valid/a 4, Valid/b 3, Test/a 4, Test/b 4",
        {},
        "train: a 9, b 8; val: a 4, b 3; test: a 4, b 4",
    ),
    ("x/train/a 9, x/train/b 8, x/dev/a 4, x/dev/b 3", {}, "train: a 9, b 8; val: a 4, b 3"),
    ("train/a 9, train/b 8, eval/a 4, eval/b 3", {}, "train: a 9, b 8; test: a 4, b 3"),
    (
        "train/a 9, train/b 8, eval/a 4, eval/b 3, test/a 2, test/b 2",
        {},
        "train: a 9, b 8; val: a 4, b 3; test: a 2, b 2",
    ),
    ("Train Data/a 9, Train Data/b 8, Test Data/a 4, Test Data/b 4", {}, "train: a 9, b 8; test: a 4, b 4"),
    ("TrainSet/a 9, TrainSet/b 8, TestSet/a 4, TestSet/b 4", {}, "train: a 9, b 8; test: a 4, b 4"),
    ("train2017/a 9, train2017/b 8, val2017/a 4, val2017/b 4", {}, "train: a 9, b 8; val: a 4, b 4"),
    (
        "asl_alphabet_train/A 9, asl_alphabet_train/B 8, asl_alphabet_test/A 4, asl_alphabet_test/B 4",
        {},
        "train: A 9, B 8; test: A 4, B 4",
    ),
    ("train/images/a 9, train/images/b 8, test/images/a 4, test/images/b 4", {}, "train: a 9, b 8; test: a 4, b 4"),
    ("train/a/x 9, train/b 8, test/a 4, test/b/y 4", {}, "train: a 9, b 8; test: a 4, b 4"),
    ("train/cats 9, train/dogs 8, test1/*.jpg 6", {}, "train: cats 9, dogs 8"),
    ("train/a 9, train/b 8, test/a 4, test/b 4, extra/c 3", {}, "train: a 9, b 8; test: a 4, b 4"),
    (
        "chest/train/a 9, chest/train/b 8, chest/test/a 4, chest/test/b 4, chest/chest/train/c 3, chest/chest/test/d 3",
        {},
        "train: a 9, b 8; test: a 4, b 4",
    ),
    ("train/Cats 9, train/Dogs 8, test/cats 4, test/DOGS 4", {}, "train: Cats 9, Dogs 8; test: Cats 4, Dogs 4"),
    (
        "train/Ka\u0308fer 9, train/b 8, test/K\u00e4fer 4, test/b 4",
        {},
        "train: K\u00e4fer 9, b 8; test: K\u00e4fer 4, b 4",
    ),
    ("train/cat 9, train/dog 8", {}, "train: cat 9, dog 8"),
    # parts below classes
    ("cat/train 9, cat/test 4, dog/train 8, dog/test 4", {}, "train: cat 9, dog 8; test: cat 4, dog 4"),
    (
        "x/cat/Training 9, x/cat/Validation 4, x/dog/Training 8, x/dog/Validation 3",
        {},
        "train: cat 9, dog 8; val: cat 4, dog 3",
    ),
    # classes that are called like parts
    ("train 9, bus 8, car 7", {}, "train: bus 8, car 7, train 9"),
    ("test 9, control 8", {}, "train: control 8, test 9"),
    ("bullet train 9, steam train 8", {}, "train: bullet train 9, steam train 8"),
    ("test_patient 9, train_station 8", {}, "train: test_patient 9, train_station 8"),
    # clutter
    (
        "cat 9, cat/@eaDir 9, dog 8, dog/Thumbs.db 0, __MACOSX/cat/._*.png 9, .DS_Store 0, lost+found/*.png 2, "
        "cat.dvc 0, .hidden/x 3, @eaDir/y 3",
        {},
        "train: cat 9, dog 8",
    ),
    # what a person decided
    ("train/steam 9, train/diesel 8, bus 7, car 7", {"layout": "classes"}, "train: bus 7, car 7, train 17"),
    ("cats 9, dogs 8, test 5", {"layout": "classes"}, "train: cats 9, dogs 8, test 5"),
    ("cats 9, dogs 8, test 5", {"layout": "classes", "classes": ["cats", "dogs"]}, "train: cats 9, dogs 8"),
    ("train/steam 9, train/diesel 8, bus 7", {"layout": "parts"}, "train: diesel 8, steam 9"),
    ("validation/a 9, validation/b 8, test/a 4, test/b 4", {"layout": "classes"}, "train: test 8, validation 17"),
    (
        "validation/a 9, validation/b 8, test/a 4, test/b 4",
        {"parts": {"train": "validation", "test": "test"}},
        "train: a 9, b 8; test: a 4, b 4",
    ),
    (
        "x/one/a 9, x/one/b 8, x/two/a 4, x/two/b 4, x/three/a 3, x/three/b 3",
        {"parts": {"train": ["one", "two"], "val": "three"}},
        "train: a 13, b 12; val: a 3, b 3",
    ),
    ("a/x 9, a/y 4, b/x 8, b/y 4", {"parts": {"train": "x", "test": "y"}}, "train: a 9, b 8; test: a 4, b 4"),
    # labels in file names
    ("cat.*.jpg 9, dog.*.jpg 8", {"label_from": r"^([a-z]+)\."}, "train: cat 9, dog 8"),
    ("train/cat.*.jpg 9, train/dog.*.jpg 8, test1/*.jpg 6", {"label_from": r"^([a-z]+)\."}, "train: cat 9, dog 8"),
    (
        "x/train/cat.*.jpg 9, x/train/dog.*.jpg 8, x/test/cat.*.jpg 4, x/test/dog.*.jpg 4",
        {"label_from": r"^([a-z]+)\."},
        "train: cat 9, dog 8; test: cat 4, dog 4",
    ),
    ("images/Abyssinian_*.jpg 9, images/beagle_*.jpg 8", {"label_from": r"^(.+)_\d+"}, "train: Abyssinian 9, beagle 8"),
    ("big/cat 9, big/dog 8, small/cat 3, small/dog 3", {"label_from": "([^/]+)/[^/]+$"}, "train: cat 12, dog 11"),
]

QUESTIONED = [
    ("validation/a 9, validation/b 8, test/a 4, test/b 4", {}, "and nothing for training"),
    ("train/steam 9, train/diesel 8, bus 7, car 7", {}, "train is either for training, with the classes diesel"),
    ("train/a 9, train/b 8, unlabelled 5", {}, "or a class beside unlabelled"),
    ("training/a 9, training/b 8, train/a 4, train/b 4", {}, "train, training mean the same part"),
    ("train 9, test 8", {}, "test, train have pictures, but no class folders"),
    ("train 9, test/a 4, test/b 4", {}, "train has no class folders, but test has"),
    ("train/a 9, train/b 8, test/c 4, test/d 4", {}, "test and train have no class in common"),
    ("color/a 9, color/b 8, grayscale/a 4, grayscale/b 4", {}, "color, grayscale all have the folders a, b"),
    ("cats 9, dogs 8, test 5", {}, "test has the name of a part: is it a class, or to be left out?"),
    ("cat/train 9, cat/test 4, dog 8", {}, "cat: are the folders in it official parts?"),
    ("images/a 9, images/b 8, masks/c 9, masks/d 8", {}, "images, masks would be a class"),
    ("train/images 9, test/images 8", {}, "there is only one class, images"),
    ("cat 9, notes.txt 0", {}, "there is only one class, cat"),
    ("pets/cat 9, notes.txt 0", {}, "there is only one class, cat"),
    ("*.jpg 9", {}, "it has pictures, but no class folders"),
    ("cat 9, dog 8", {"layout": "parts"}, "none of cat, dog has a name for training pictures"),
    ("cat 9, dog 8", {"parts": {"train": "training"}}, "download.parts names training, and there is no such folder"),
    ("test/a 9, test/b 8, images2/a 4, images2/b 4", {}, "all have the folders a, b"),
]

# What the message suggests besides the keys that decide.
SUGGESTED = [
    ("train/cat.*.jpg 9, train/dog.*.jpg 8", r"download.label_from: '^(.*?)[._ -]*\d+\.\w+$' (cat 9, dog 8)"),
    ("x/great_dane_*.jpg 9, x/pug-*.jpg 8", r"download.label_from: '^(.*?)[._ -]*\d+\.\w+$' (great_dane 9, pug 8)"),
    ("x/*.jpg 9, labels.csv 0", "If labels.csv lists the pictures with their labels, set download.source to table."),
]

REFUSED = [
    ("notes.txt 0", {}, "has no pictures: put one folder of pictures for each class there"),
    ("train/cat 9, train/Cat 8, train/dog 8, test/cat 4", {}, "classes Cat and cat in train differ only in case"),
    ("cat 9, dog 8", {"label_from": "^x"}, "download.label_from ^x matches no file's name, such as cat__1.png"),
    ("cat 9, dog 8, empty/ 0", {}, "class empty has no good picture (the folder is empty)"),
]


def counts(table):
    """`{class: {part: count}}` as a line."""
    parts = {part: {label: row[part] for label, row in table.items() if row[part]} for part in ("train", "val", "test")}
    return "; ".join(
        f"{part}: " + ", ".join(f"{label} {count}" for label, count in sorted(row.items()))
        for part, row in parts.items()
        if row
    )


def found(raw):
    """The classes of each part below a folder, as a line."""
    table = {}
    for path in raw.rglob("*"):
        if path.is_file():
            part, label = path.relative_to(raw).parts[:2]
            table.setdefault(label, dict.fromkeys(("train", "val", "test"), 0))[part] += 1
    return counts(table)


def read(tmp_path, layout, kind, settings):
    """Collect a layout and split it: `(data/raw, source, report, assignment)`."""
    path = write_layout(tmp_path / "in", layout) if kind == "folder" else zip_layout(tmp_path / "in.zip", layout)
    (tmp_path / "scratch").mkdir()
    params = download_params(source=kind, path=str(path), on_bad="drop", **settings)
    source = sources.read(params, tmp_path / "scratch")
    _, report = download.collect(source.files, tmp_path / "raw", params, seed=1)
    assignment = split.split(
        tmp_path / "raw", group_rows(tmp_path / "raw"), SplitParams(ratio=[0.6, 0.2, 0.2]), 1
    ).assignment
    return source, report, assignment


BOTH = pytest.mark.parametrize("kind", ["folder", "archive"])


@BOTH
@pytest.mark.parametrize(("layout", "settings", "outcome"), UNDERSTOOD)
def test_a_layout_is_understood(layout, settings, outcome, kind, tmp_path):
    source, report, assignment = read(tmp_path, layout, kind, settings)
    assert found(tmp_path / "raw") == outcome
    assert report["found"] == report["kept"] + len(report["dropped"])
    assert len(assignment) == report["kept"]
    for part in ("val", "test"):  # official parts stay, others are made
        official = {name for name in assignment if name.startswith(f"{part}/")}
        drawn = {name for name, drawn in assignment.items() if drawn == part}
        assert drawn == official if official else drawn
    assert source.description
    assert str(tmp_path / "scratch") not in source.description + "".join(source.details["notes"])


@BOTH
@pytest.mark.parametrize(("layout", "settings", "question"), QUESTIONED)
def test_an_unclear_layout_is_questioned(layout, settings, question, kind, tmp_path):
    """The question shows the tree with counts and names the keys that decide."""
    with pytest.raises(UserError) as error:
        read(tmp_path, layout, kind, settings)
    text = str(error.value)
    assert question in text
    assert "download.layout" in text
    assert "download.parts" in text
    assert str(tmp_path / "in") in text
    assert "scratch" not in text
    assert all(f"{entry.split('/')[0]}/ " in text for entry in layout.split(", ") if "/" in entry)
    assert re.search(r"\d pictures\n", text)
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize(("layout", "suggestion"), SUGGESTED)
def test_an_unclear_layout_comes_with_a_suggestion_that_works(layout, suggestion, tmp_path):
    with pytest.raises(UserError) as error:
        read(tmp_path, layout, "folder", {})
    assert suggestion in str(error.value)
    if "label_from" in suggestion:
        pattern, outcome = re.search(r"'(.*)' \((.*)\)", suggestion).groups()
        params = download_params(path=str(tmp_path / "in"), label_from=pattern)
        download.collect(sources.read(params, tmp_path).files, tmp_path / "raw", params, seed=1)
        assert found(tmp_path / "raw") == f"train: {outcome}"


@BOTH
@pytest.mark.parametrize(("layout", "settings", "sentence"), REFUSED)
def test_other_layouts_are_refused_with_the_remedy(layout, settings, sentence, kind, tmp_path):
    with pytest.raises(UserError) as error:
        read(tmp_path, layout, kind, settings)
    assert sentence in str(error.value)
    assert "scratch" not in str(error.value)
