"""No folder is skipped, and none is half deleted."""

import pytest

from darkroom.core.folders import check_removable, files_below


def test_files_below_a_folder_are_those_at_any_depth(tmp_path):
    for name in ("a/b/1.txt", "a/2.txt", ".hidden/3.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(path.name for path in files_below(tmp_path)) == ["1.txt", "2.txt", "3.txt"]


def test_a_folder_that_cannot_be_read_is_an_error_and_not_empty(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(files_below(tmp_path / "none"))


def test_a_folder_that_does_not_exist_may_be_removed(tmp_path):
    check_removable(tmp_path / "none")
