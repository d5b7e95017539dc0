import os
import re
import shutil

import pytest

from darkroom.core.errors import UserError
from tests.helpers.odd_files import photo
from tests.helpers.pictures import save
from tests.helpers.source_files import files_of, names_of


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "has no pictures"),
        (lambda path: path.write_text("words"), "is not a folder"),
    ],
)
def test_a_folder_without_classes_is_refused(make, sentence, tmp_path):
    make(tmp_path / "in")
    with pytest.raises(UserError, match=f"{sentence}: put one folder of pictures for each class there"):
        files_of("folder", tmp_path / "in")


def test_a_link_to_a_folder_is_refused_since_dvc_does_not_look_behind_it(tmp_path):
    save(tmp_path / "elsewhere/dog/one.png", photo(1))
    save(tmp_path / "in/cat/two.png", photo(2))
    for link in ("dog", "cat/more", "cat/loop"):
        target = tmp_path / ("in" if link == "cat/loop" else "elsewhere/dog")
        (tmp_path / "in" / link).symlink_to(target)
        with pytest.raises(UserError) as error:
            files_of("folder", tmp_path / "in")
        assert f"{tmp_path / 'in' / link} is a link to a folder, {target}" in str(error.value)
        remedy = str(error.value).rsplit(": ", 1)[1]
        assert remedy == f"rm {tmp_path / 'in' / link}; cp -rl {target} {tmp_path / 'in' / link}"
        (tmp_path / "in" / link).unlink()
    shutil.copytree(tmp_path / "elsewhere/dog", tmp_path / "in/dog", copy_function=os.link)
    assert len(files_of("folder", tmp_path / "in")) == 2


def test_a_linked_picture_and_a_linked_top_folder_are_read_since_dvc_hashes_both(tmp_path):
    save(tmp_path / "elsewhere/one.png", photo(1))
    save(tmp_path / "real/cat/two.png", photo(2))
    save(tmp_path / "real/dog/three.png", photo(3))
    (tmp_path / "real/cat/one.png").symlink_to(tmp_path / "elsewhere/one.png")
    (tmp_path / "in").symlink_to(tmp_path / "real")
    assert names_of(files_of("folder", tmp_path / "in")) == [
        ("train", "cat", "one.png"), ("train", "cat", "two.png"), ("train", "dog", "three.png")
    ]  # fmt: skip


def test_files_outside_the_class_folders_are_reported(tmp_path):
    picture = save(tmp_path / "train/a/1.png", photo(1))
    for name in ("train/b/1.png", "test/a/2.png", "train/stray.png", "notes.txt", "extra/b/3.png", ".hidden/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, tmp_path / name)
    files = files_of("folder", tmp_path)
    assert names_of(files) == [
        ("train", "a", "1.png"), ("train", "b", "1.png"), ("test", "a", "2.png"),
        ("", "", "notes.txt"), ("", "", "extra/b/3.png"), ("", "", "train/stray.png"),
    ]  # fmt: skip
    assert {str(file.content) for file in files if not file.part} == {"in no class folder"}


def test_files_of_one_name_in_two_folders_of_a_class_are_all_kept(tmp_path):
    for name in ("one/a/1.png", "one/b/1.png", "two/a/1.png", "two/a/2.png"):
        save(tmp_path / name, photo(1))
    files = files_of("folder", tmp_path, parts={"train": ["one", "two"]})
    assert [re.sub("__[0-9a-f]{8}", "__#", file.name) for file in files] == ["1__#.png", "1.png", "1__#.png", "2.png"]
    assert len({file.name for file in files}) == 4
