import pytest

from darkroom.core.errors import UserError
from darkroom.core.files import write_csv, write_json
from darkroom.images.folders import labelled, listed
from tests.helpers.split_files import write_files


def test_pictures_are_in_canonical_order_without_hidden_ones(tmp_path):
    write_files(tmp_path, ["b/1.png", "a/2.png", "a/10.png", "a/deep/1.png", "a/.hidden.png", ".x/1.png", "stray.png"])
    names = [(path.relative_to(tmp_path).as_posix(), label) for path, label in labelled(tmp_path)]
    assert names == [("a/10.png", "a"), ("a/2.png", "a"), ("a/deep/1.png", "a"), ("b/1.png", "b")]


def test_a_missing_folder_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"none is missing: run `dvc repro`"):
        labelled(tmp_path / "none")


def test_train_is_listed_with_augmented_pictures_and_without_those_left_out(workspace):
    write_files(workspace / "data/split", ["train/a/1.png", "train/a/2.png", "val/a/3.png"])
    write_files(workspace / "data/augmented", ["a/1.png.augmented-0.png"])
    write_csv(workspace / "data/augmented/.left_out.csv", ("picture",), [["a/1.png"]])
    write_json(workspace / "reports/augment.json", {"a": {"pictures": 2, "added": 1, "left_out": 1}})
    names = {part: [path.as_posix() for path, _ in listed(part)] for part in ("train", "val")}
    assert names == {
        "train": ["data/split/train/a/2.png", "data/augmented/a/1.png.augmented-0.png"],
        "val": ["data/split/val/a/3.png"],
    }
