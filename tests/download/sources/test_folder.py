import shutil

import pytest

from darkroom.core.errors import UserError
from tests.helpers.odd_files import photo
from tests.helpers.pictures import save
from tests.helpers.source_files import files_of, names_of


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: (folder / "in").mkdir()])
def test_a_folder_without_classes_is_refused(make, tmp_path):
    make(tmp_path)
    with pytest.raises(UserError, match="holds no class folders: put one folder of pictures for each class there"):
        files_of("folder", tmp_path / "in")


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_official_parts_are_recognised(val, tmp_path):
    for part in ("train", val, "test"):
        for label in "xy":
            save(tmp_path / part / label / "p.png", photo(1))
    files = names_of(files_of("folder", tmp_path))
    assert sorted(files) == [(part, label, "p.png") for part in ("test", "train", "val") for label in "xy"]


def test_classes_may_be_called_test_where_there_is_no_train(tmp_path):
    for label in ("test", "control"):
        save(tmp_path / label / "p.png", photo(1))
    assert names_of(files_of("folder", tmp_path)) == [("train", "control", "p.png"), ("train", "test", "p.png")]


def test_parts_may_be_called_training_and_testing(tmp_path):
    for part in ("Training", "TEST"):
        save(tmp_path / part / "a/p.png", photo(1))
    assert [file.part for file in files_of("folder", tmp_path)] == ["test", "train"]
    (tmp_path / "testing/a").mkdir(parents=True)
    with pytest.raises(UserError, match=r"TEST and testing in .* mean the same part: join them"):
        files_of("folder", tmp_path)


def test_folders_that_are_links_are_followed_and_loops_end(tmp_path):
    save(tmp_path / "elsewhere/one.png", photo(1))
    save(tmp_path / "in/a/two.png", photo(2))
    (tmp_path / "in/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/a/loop").symlink_to(tmp_path / "in")
    assert names_of(files_of("folder", tmp_path / "in")) == [
        ("train", "a", "loop"), ("train", "a", "two.png"), ("train", "b", "one.png")
    ]  # fmt: skip


def test_folders_that_link_to_each_other_are_walked_once(tmp_path):
    for folder, other in (("p", "q"), ("q", "p")):
        save(tmp_path / f"in/cat/{folder}/{folder}.png", photo(1))
        (tmp_path / f"in/cat/{folder}/to_{other}").symlink_to(f"../{other}")
    names = sorted(file.name for file in files_of("folder", tmp_path / "in"))
    pictures = ["p__p.png", "p__to_q__q.png", "q__q.png", "q__to_p__p.png"]
    assert names == sorted([*pictures, "p__to_q__to_p", "q__to_p__to_q"])


def test_files_outside_the_class_folders_are_reported(tmp_path):
    picture = save(tmp_path / "train/a/1.png", photo(1))
    for name in ("test/a/2.png", "train/stray.png", "notes.txt", "extra/b/3.png", ".hidden/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, tmp_path / name)
    files = files_of("folder", tmp_path)
    assert names_of(files) == [
        ("test", "a", "2.png"), ("train", "a", "1.png"),
        ("", "", "extra/b/3.png"), ("", "", "notes.txt"), ("", "", "train/stray.png"),
    ]  # fmt: skip
    assert {str(file.content) for file in files if not file.part} == {"in no class folder"}
