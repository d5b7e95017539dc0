import json
import shutil

import pytest
from PIL import Image

from darkroom.augment.params import Params
from darkroom.core.files import read_csv
from darkroom.core.hashing import md5s
from darkroom.core.params import Base
from darkroom.images.decode import decode
from darkroom.images.folders import listed
from stages import augment
from tests.helpers.pictures import save

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.fixture
def unbalanced(workspace, fashion):
    """Training pictures of three classes: 20, 7 and 3."""
    for label, count in (("Bag", 20), ("Coat", 7), ("Dress", 3)):
        for path in sorted((fashion / "train" / label).iterdir())[:count]:
            (workspace / "data/split/train" / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, workspace / "data/split/train" / label)
    return workspace


def augmented(workspace, target, seed=42, **params):
    """Run the stage; the new pictures by name."""
    augment.main(Base(seed=seed), Params(**{"target": target, "preset": "tutorial"} | params))
    files = sorted((workspace / "data/augmented").rglob("*.png"))
    return {path.relative_to(workspace / "data/augmented").as_posix(): path.read_bytes() for path in files}


def counts(pictures):
    return {label: sum(name.startswith(label) for name in pictures) for label in ("Bag", "Coat", "Dress")}


@pytest.mark.parametrize(
    ("target", "undersample", "added"),
    [
        ("max", True, {"Bag": 0, "Coat": 13, "Dress": 17}),
        (10, False, {"Bag": 0, "Coat": 3, "Dress": 7}),
        (10, True, {"Bag": 0, "Coat": 3, "Dress": 7}),
        (25, False, {"Bag": 5, "Coat": 18, "Dress": 22}),
        ("none", False, {"Bag": 0, "Coat": 0, "Dress": 0}),
        ("none", True, {"Bag": 0, "Coat": 0, "Dress": 0}),
    ],
)
def test_every_class_reaches_the_target(unbalanced, target, undersample, added):
    assert counts(augmented(unbalanced, target, undersample=undersample)) == added
    report = json.loads((unbalanced / "reports/augment.json").read_text())
    left_out = 10 if target == 10 and undersample else 0
    assert report["Bag"] == {"pictures": 20, "added": added["Bag"], "left_out": left_out}
    assert report["Coat"] == {"pictures": 7, "added": added["Coat"], "left_out": 0}
    # The pictures that the next stage trains on.
    used = counts([picture.label for picture in listed("train")])
    # The table by which later stages notice a change: the pictures, and the list of those left out.
    files = {row["file"]: row["md5"] for row in read_csv(unbalanced / "reports/augment.csv")}
    assert files == md5s(unbalanced / "data/augmented")
    assert len(files) == sum(added.values()) + 1
    assert used == {label: row["pictures"] + row["added"] - row["left_out"] for label, row in report.items()}


def test_which_pictures_are_left_out_depends_on_content_and_seed_alone(unbalanced):
    def left_out(seed):
        augmented(unbalanced, 3, seed=seed, undersample=True)  # no class gets new pictures
        return {row["picture"] for row in read_csv(unbalanced / "data/augmented/.left_out.csv")}

    first, again, other = left_out(1), left_out(1), left_out(2)
    assert len(first) == 21
    assert first == again != other
    kept = sorted({f"Bag/{path.name}" for path in (unbalanced / "data/split/train/Bag").iterdir()} - first)
    (unbalanced / "data/split/train" / kept[0]).unlink()
    assert len(left_out(1)) == 20
    assert left_out(1) < first


def test_a_new_picture_depends_on_its_source_the_seed_and_its_number_alone(unbalanced):
    first = augmented(unbalanced, "max")
    with Image.open(unbalanced / "reports/augment.jpg") as sheet:
        assert sheet.width >= 10 * 96
        assert sheet.height >= 2 * 96
    other = augmented(unbalanced, "max", seed=43)
    for path in sorted((unbalanced / "data/split/train/Bag").iterdir())[10:]:
        path.unlink()
    fewer = augmented(unbalanced, "max")
    assert len(fewer) == 10
    assert all(first[name] == data for name, data in fewer.items())
    assert not set(first.values()) & set(other.values())
    assert len(set(first.values())) == len(first)


def test_without_new_pictures_the_sheet_says_so(unbalanced):
    augmented(unbalanced, "none")
    with Image.open(unbalanced / "reports/augment.jpg") as sheet:
        assert sheet.height < 150


def test_pictures_with_one_stem_get_different_names(unbalanced):
    for suffix in ("bmp", "tiff", "gif"):
        path = sorted((unbalanced / "data/split/train/Dress").iterdir())[0]
        save(path.with_suffix(f".{suffix}"), decode(path)[::-1])
    assert counts(augmented(unbalanced, "max"))["Dress"] == 14


def test_odd_names(unbalanced):
    """A class with the name of one of our files, and file names that are nearly too long."""
    train = unbalanced / "data/split/train"
    for label in ("left_out.csv", "a$b_$c"):
        (train / label).mkdir()
        for number, path in enumerate(sorted((train / "Bag").iterdir())[:2]):
            shutil.copy(path, train / label / f"{number}{'x' * 245}.png")
    new = augmented(unbalanced, "max")
    assert sum(name.startswith("left_out.csv/") for name in new) == 18
    assert len({name for name in new if name.startswith("a$b")}) == 18
