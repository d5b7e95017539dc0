"""What the stage would read and DVC does not hash is refused; the hashes here are DVC's own."""

import os

import pytest
from dvc_data.hashfile.build import build
from dvc_data.hashfile.db import HashFileDB
from dvc_objects.fs import LocalFileSystem, MemoryFileSystem

from darkroom.core.errors import UserError
from darkroom.download.params import Params
from darkroom.download.tracked import check_hashable, check_tracked
from tests.helpers.odd_files import photo
from tests.helpers.pictures import save


def dvc_hash(folder):
    """The hash of a folder that DVC would write into dvc.lock."""
    files = MemoryFileSystem(global_store=False)
    return build(HashFileDB(files, "/hashes"), str(folder), LocalFileSystem(), "md5", dry_run=True)[2].hash_info.value


@pytest.fixture
def pictures(tmp_path):
    for name in ("in/cat/1.png", "in/dog/1.png", "elsewhere/bird/1.png"):
        save(tmp_path / name, photo(len(name)))
    return tmp_path / "in"


def changes(pictures, file):
    """Whether DVC notices a change of a file."""
    before = dvc_hash(pictures)
    save(file, photo(50))
    return dvc_hash(pictures) != before


@pytest.mark.parametrize("place", ["bird", "cat/more", "cat/deep/more"])
def test_a_link_to_a_folder_is_refused(place, pictures, tmp_path):
    (pictures / place).parent.mkdir(exist_ok=True)
    (pictures / place).symlink_to(tmp_path / "elsewhere/bird")
    assert not changes(pictures, tmp_path / "elsewhere/bird/1.png")
    with pytest.raises(UserError, match=rf"{place} is a link to a folder, .*elsewhere/bird: DVC does not look behind"):
        check_tracked(pictures)


def test_links_to_files_and_a_linked_folder_of_all_pictures_are_hashed(pictures, tmp_path):
    (pictures / "cat/2.png").symlink_to(tmp_path / "elsewhere/bird/1.png")
    assert changes(pictures, tmp_path / "elsewhere/bird/1.png")
    (tmp_path / "link").symlink_to(pictures)
    assert changes(tmp_path / "link", pictures / "cat/1.png")
    (pictures / "dog/self.png").symlink_to("self.png")
    check_tracked(tmp_path / "link")
    check_tracked(tmp_path / "missing")
    check_tracked(pictures / "cat/1.png")


def test_what_dvcignore_leaves_out_is_refused(pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvcignore").write_text("# comment\n\n__pycache__\n")
    check_tracked(pictures.relative_to(tmp_path))
    for pattern in ("*.png", "in/dog", "/in/dog/1.png"):
        (tmp_path / ".dvcignore").write_text(pattern)
        with pytest.raises(UserError, match=r"in/(cat|dog).* is left out by a pattern in .dvcignore"):
            check_tracked(pictures.relative_to(tmp_path))
    (tmp_path / ".dvcignore").write_text("other/*.png\n*.tmp\n")
    check_tracked(pictures.relative_to(tmp_path))
    check_tracked(pictures.parent / "elsewhere")


OBSTACLES = {
    "a name in Latin": (lambda path: path.with_name(os.fsdecode(b"caf\xe9.png")).touch(), r"caf\xe9.png is not UTF-8"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "x.png is a link to nothing, which stops DVC"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "x.png is a link to nothing, which stops DVC"),
    "a pipe": (os.mkfifo, "x.png is a pipe, socket or device, which stops DVC"),
}


@pytest.mark.parametrize("case", OBSTACLES)
def test_what_stops_dvc_is_named(case, pictures):
    make, sentence = OBSTACLES[case]
    check_hashable(pictures)
    make(pictures / "cat/x.png")
    with pytest.raises(UserError) as error:
        check_hashable(pictures)
    assert sentence in str(error.value)
    if case.startswith("a link"):  # for a pipe it would wait forever
        with pytest.raises((OSError, UnicodeError)):
            dvc_hash(pictures)


@pytest.mark.parametrize("key", ["path", "pictures"])
@pytest.mark.parametrize("value", ["~/pics", "$HOME/pics"])
def test_what_a_shell_would_expand_is_refused(key, value):
    with pytest.raises(ValueError, match=f"DVC takes that literally: write {os.environ['HOME']}/pics"):
        Params(**{key: value})
