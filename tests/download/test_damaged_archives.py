"""Damaged, empty and contradictory archives are refused, and never unpack to wrong files."""

import bz2
import gzip
import lzma
import random
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.core.errors import UserError
from darkroom.download.archives.kinds import is_archive
from darkroom.download.archives.unpack import unpack
from tests.helpers.archive_files import (
    BOTH,
    EVERY,
    KINDS,
    LIMITS,
    NOISE,
    TREE,
    make,
    tarred,
    under,
    zipped,
)


@pytest.mark.parametrize("share", [0.001, 0.02, 0.2, 0.5, 0.8, 0.99])
@EVERY
def test_archives_that_are_cut_off_are_refused(kind, share, tmp_path, refused):
    data = make(tmp_path / kind, TREE).read_bytes()
    if kind == "x.tar":
        data = data.rstrip(b"\0")  # the padding
    (tmp_path / kind).write_bytes(data[: int(share * len(data))])
    assert "damaged" in refused(tmp_path / kind)


@EVERY
def test_an_archive_that_lacks_its_last_bytes_is_refused(kind, tmp_path, refused):
    data = make(tmp_path / kind, TREE).read_bytes()
    (tmp_path / kind).write_bytes(data.rstrip(b"\0")[:-1])
    assert "damaged" in refused(tmp_path / kind)


@pytest.mark.parametrize("blocks", [3, 3.3, 6, 12])
def test_a_tar_that_is_cut_off_between_two_files_is_refused(blocks, tmp_path, refused):
    """Each file takes three blocks, one of them the header."""
    data = tarred(tmp_path / "x.tar", TREE).read_bytes()
    (tmp_path / "x.tar").write_bytes(data[: int(blocks * 512)])
    assert "damaged" in refused(tmp_path / "x.tar")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_header_that_is_damaged_is_not_the_end(mode, tmp_path, refused):
    """The archive is whole but for one byte of the third file's header; the rest must not be missing silently."""
    data = bytearray(tarred(tmp_path / "x.tar", TREE).read_bytes())
    data[6 * 512] ^= 1
    compress = {"w": bytes, "w:gz": gzip.compress, "w:bz2": bz2.compress, "w:xz": lzma.compress}[mode]
    (tmp_path / "x.tar").write_bytes(compress(data))
    assert "damaged" in refused(tmp_path / "x.tar")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "x.tar"])  # which has no checksums of its files
def test_a_flipped_byte_never_gives_other_files(kind, tmp_path):
    data = make(tmp_path / kind, TREE).read_bytes()
    refusals = 0
    for place in random.Random(2).sample(range(len(data)), 60):
        damaged = bytearray(data)
        damaged[place] ^= 0x20
        (tmp_path / kind).write_bytes(damaged)
        with tempfile.TemporaryDirectory() as target:
            try:
                unpack(tmp_path / kind, Path(target), LIMITS)
            except UserError:
                refusals += 1
            else:
                # Other bytes, such as a date or a name in a zip's directory, may have changed.
                assert sorted(under(Path(target)).values()) == sorted(TREE.values()), place
    assert refusals > 30


def test_a_flipped_byte_in_a_zip_names_the_file(tmp_path, refused):
    data = bytearray(zipped(tmp_path / "x.zip", TREE, zipfile.ZIP_STORED).read_bytes())
    data[data.index(TREE["dog/3.jpg"]) + 10] ^= 1
    (tmp_path / "x.zip").write_bytes(data)
    assert "dog/3.jpg" in refused(tmp_path / "x.zip")


OTHER = "is not a zip, 7z or tar archive, or is damaged: check where it comes from, and download it again."


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tzst", "x.7z", "x"])
@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is empty: download it again."),
        (b"hello\n", OTHER),
        (b"PK", OTHER),
        (b"PK\3\4", "is a damaged zip archive (its end is missing): download it again."),
        (b"PK\5\6", OTHER),
        (b"\x1f\x8b\x08", OTHER),
        (b"BZh9", OTHER),
        (b"\xfd7zXZ\0", OTHER),
        (b"\x28\xb5\x2f\xfd", OTHER),
        (b"\x28\xb5\x2f\xfd" + NOISE[:100], OTHER),
        (bytes(100), OTHER),
        (gzip.compress(b"hello", mtime=0), OTHER),
        (gzip.compress(NOISE[:5000], mtime=0), OTHER),
        (NOISE[:5000], OTHER),
        (zlib.compress(b"hello"), OTHER),
    ],
    ids=range(15),
)
def test_a_file_that_is_not_an_archive_is_refused(data, sentence, name, tmp_path, refused):
    (tmp_path / name).write_bytes(data)
    assert is_archive(tmp_path / name) == (name != "x")  # where it should be one, the sentence says why it is none
    assert refused(tmp_path / name) == f"{tmp_path / name} {sentence}"


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_zeros_are_not_an_archive_with_files(compress, tmp_path, refused):
    (tmp_path / "x.tar").write_bytes(compress(bytes(10**4)))
    refused(tmp_path / "x.tar")


def test_a_missing_archive_is_reported(tmp_path, refused):
    assert "there is no archive" in refused(tmp_path / "x.zip")
    (tmp_path / "x.zip").mkdir()
    assert "there is no archive" in refused(tmp_path / "x.zip")
    assert not is_archive(tmp_path / "x.zip")


@EVERY
def test_an_archive_without_files_is_refused(kind, tmp_path, refused):
    assert "contains no files" in refused(make(tmp_path / kind, {}))


def test_an_archive_of_folders_alone_is_refused(tmp_path, refused):
    assert "contains no files" in refused(zipped(tmp_path / "x.zip", {"a/": b"", "a/b/": b""}))


@BOTH
def test_names_longer_than_the_disk_takes_are_refused(kind, tmp_path, refused):
    refused(make(tmp_path / kind, {f"{'a' * 300}.jpg": b"x"}))


@BOTH
def test_folders_nested_without_end_are_refused(kind, tmp_path, refused, folder):
    names = ["/".join("d" * depth) for depth in range(1, 1200)]
    try:
        if kind == "x.zip":
            archive = zipped(tmp_path / kind, {f"{name}/": b"" for name in names} | {f"{names[-1]}/x.jpg": b"x"})
        else:
            with tarfile.open(tmp_path / kind, "w") as opened:
                for name in names:
                    info = tarfile.TarInfo(name)
                    info.type = tarfile.DIRTYPE
                    opened.addfile(info)
                opened.addfile(tarfile.TarInfo(f"{names[-1]}/x.jpg"))
            archive = tmp_path / kind
        refused(archive)
    finally:
        subprocess.run(["rm", "-rf", *folder.iterdir()], check=True)  # too deep for pytest


def test_a_zip_whose_directory_and_members_differ_is_refused(tmp_path, refused):
    data = zipped(tmp_path / "x.zip", {"a.jpg": b"x"}).read_bytes()
    (tmp_path / "x.zip").write_bytes(data.replace(b"a.jpg", b"b.jpg", 1))
    assert "damaged" in refused(tmp_path / "x.zip")


PARTS = st.sampled_from(["..", ".", "", "a", "b", "C:", "~", "\\", "..\\x", "__MACOSX", "a.jpg"]) | st.text(max_size=5)
ANY = st.lists(st.lists(PARTS, min_size=1, max_size=4).map("/".join).filter(bool), min_size=1, max_size=6)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(deadline=None, max_examples=150)
@given(ANY, st.sampled_from(["x.zip", "x.tar"]))
def test_whatever_the_names_are_nothing_is_written_outside(names, kind):
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base) / "around/in"
        folder.mkdir(parents=True)
        archive = make(Path(base) / kind, [(name, b"x") for name in names])
        try:
            inner = unpack(archive, folder, LIMITS)
        except UserError:
            pass
        else:
            assert inner.is_relative_to(folder)
            # Every file is there: zip ends a name at a NUL, and what ends with a slash is a folder there.
            files = [name.split("\0")[0] if kind == "x.zip" else name for name in names]
            files = [name for name in files if not (kind == "x.zip" and name.endswith("/"))]
            assert len(under(folder)) == len(files)
        assert [path.name for path in (Path(base) / "around").iterdir()] == ["in"]
        assert sorted(path.name for path in Path(base).iterdir()) == ["around", kind]
