"""Good archives are unpacked whole; hostile and damaged ones are refused, and never write outside their folder."""

import bz2
import gzip
import io
import lzma
import random
import stat
import struct
import subprocess
import tarfile
import tempfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.archives import MESSY, Limits, is_archive, unpack
from stages.common.errors import StageError

LIMITS = Limits(10**7, 1000)
NOISE = random.Random(1).randbytes(300_000)  # does not get smaller by compression, as pictures don't
NAMES = [f"{label}/{number}.jpg" for label in ("cat", "dog") for number in range(5)]
TREE = {name: NOISE[number * 1000 :][: 700 + number] for number, name in enumerate(NAMES)}


def zipped(path, files, compression=zipfile.ZIP_DEFLATED, **attributes):
    """A zip of `files`, by name; a list of pairs may hold a name twice."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items() if isinstance(files, dict) else files:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.writestr(info, data)
    return path


def tarred(path, files, mode="w", **attributes):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items() if isinstance(files, dict) else files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return path


def make(path, files):
    """An archive of the kind that its name says."""
    modes = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}
    return zipped(path, files) if path.suffix == ".zip" else tarred(path, files, modes.get(path.suffix, "w"))


def under(folder):
    """All files below a folder, with what is in them; links are not followed."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path):
    """Where to unpack; the folder around it holds files that must stay as they are."""
    (tmp_path / "around").mkdir()
    (tmp_path / "around/x").write_text("as it was")
    (tmp_path / "around/in").mkdir()
    yield tmp_path / "around/in"
    outside = {name: data for name, data in under(tmp_path / "around").items() if not name.startswith("in/")}
    assert outside == {"x": b"as it was"}
    assert not any(path.is_symlink() for path in (tmp_path / "around").rglob("*"))


@pytest.fixture
def refused(folder):
    """Unpack, and return what the StageError says."""

    def unpacked(archive, limits=LIMITS):
        with pytest.raises(StageError) as caught:
            unpack(archive, folder, limits)
        assert archive.name in str(caught.value)
        return str(caught.value)

    return unpacked


KINDS = ["x.zip", "x.tar", "x.tar.gz", "x.tgz", "x.tar.bz2", "x.tar.xz"]
EVERY = pytest.mark.parametrize("kind", KINDS)
BOTH = pytest.mark.parametrize("kind", ["x.zip", "x.tar"])


@EVERY
def test_good_archives_are_unpacked_whole(kind, tmp_path, folder):
    archive = make(tmp_path / kind, TREE | {"empty.txt": b"", "cat/Ünïcødé 図.jpg": b"x"})
    assert is_archive(archive)
    assert unpack(archive, folder, LIMITS) == folder
    assert under(folder) == TREE | {"empty.txt": b"", "cat/Ünïcødé 図.jpg": b"x"}


@EVERY
def test_what_an_archive_is_called_does_not_matter(kind, tmp_path, folder):
    archive = make(tmp_path / kind, TREE).rename(tmp_path / "download")
    unpack(archive, folder, LIMITS)
    assert under(folder) == TREE


@BOTH
@pytest.mark.parametrize("outer", ["set", "set/v1.0", "./set"])
def test_outer_folders_are_left_out(outer, kind, tmp_path, folder):
    archive = make(tmp_path / kind, {f"{outer}/{name}": data for name, data in TREE.items()})
    inner = unpack(archive, folder, LIMITS)
    assert inner == folder / outer
    assert under(inner) == TREE


@EVERY
def test_what_operating_systems_leave_is_left_out(kind, tmp_path, folder):
    junk = {f"__MACOSX/set/cat/._{number}.jpg": b"junk" for number in range(5)}
    junk |= {"set/.DS_Store": b"junk", "set/cat/Thumbs.db": b"junk", "set/dog/desktop.ini": b"junk"}
    archive = make(tmp_path / kind, junk | {f"set/{name}": data for name, data in TREE.items()})
    assert under(unpack(archive, folder, LIMITS)) == TREE
    assert under(folder) == {f"set/{name}": data for name, data in TREE.items()}


def test_one_class_alone_is_no_reason_to_look_deeper_than_files(tmp_path, folder):
    assert unpack(make(tmp_path / "x.zip", {"set/1.jpg": b"x"}), folder, LIMITS) == folder / "set"


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zips_of_every_compression_are_unpacked(compression, tmp_path, folder):
    unpack(zipped(tmp_path / "x.zip", TREE, compression), folder, LIMITS)
    assert under(folder) == TREE


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_every_form_are_unpacked(form, tmp_path, folder):
    files = TREE | {f"{'long' * 20}/{'name' * 15}.jpg": b"x"}  # more than the 100 characters of a header
    with tarfile.open(tmp_path / "x.tar", "w", format=form) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    unpack(tmp_path / "x.tar", folder, LIMITS)
    assert under(folder) == files


def test_folders_of_their_own_are_no_files(tmp_path, folder):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("set/", "set/cat/", "set/empty/"):
            archive.writestr(name, b"")
        archive.writestr("set/cat/1.jpg", b"x")
    assert unpack(tmp_path / "x.zip", folder, Limits(10, 4)) == folder / "set"
    assert (folder / "set/empty").is_dir()


@pytest.mark.parametrize(("compress", "ending"), [(gzip.compress, "gz"), (bz2.compress, "bz2"), (lzma.compress, "xz")])
def test_archives_compressed_in_pieces_are_unpacked_whole(compress, ending, tmp_path, folder):
    """As pbzip2, bgzip and others that work on all cores write them."""
    data = tarred(tmp_path / "x.tar", TREE).read_bytes()
    pieces = [compress(data[start : start + 5000]) for start in range(0, len(data), 5000)]
    (tmp_path / f"x.tar.{ending}").write_bytes(b"".join(pieces))
    unpack(tmp_path / f"x.tar.{ending}", folder, LIMITS)
    assert under(folder) == TREE


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path, folder):
    inner = zipped(tmp_path / "inner.zip", {"not/this.txt": b"x"}).read_bytes()
    unpack(tarred(tmp_path / "x.tar", TREE | {"z.zip": inner}), folder, LIMITS)
    assert under(folder) == TREE | {"z.zip": inner}


OUTSIDE = [
    "/etc/x",
    "//x/y",
    "../x",
    "..",
    "a/../../x",
    "a/../x",
    "./../x",
    "a/..",
    "C:\\x",
    "C:x",
    "c:/x",
    "..\\x",
    "a\\..\\..\\x",
    "\\\\server\\share\\x",
]


@BOTH
@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_outside_are_refused(name, kind, tmp_path, refused, folder):
    said = refused(make(tmp_path / kind, {"good.jpg": b"x", name: b"hostile"}))
    assert "outside the folder" in said
    assert repr(name) in said
    assert "hostile" not in str(under(folder))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.SYMTYPE, "odd is a link"),
        (tarfile.LNKTYPE, "odd is a link"),
        (tarfile.CHRTYPE, "odd is a device or a pipe"),
        (tarfile.BLKTYPE, "odd is a device or a pipe"),
        (tarfile.FIFOTYPE, "odd is a device or a pipe"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(kind, said, mode, tmp_path, refused):
    with tarfile.open(tmp_path / "x.tar", mode) as archive:
        archive.addfile(tarfile.TarInfo("empty"))
        info = tarfile.TarInfo("odd")
        info.type, info.linkname = kind, "../x"
        archive.addfile(info)
        archive.addfile(tarfile.TarInfo("odd/inner"))
    assert said in refused(tmp_path / "x.tar")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (stat.S_IFLNK, "odd is a link"),
        (stat.S_IFCHR, "odd is a device"),
        (stat.S_IFBLK, "odd is a device"),
        (stat.S_IFIFO, "odd is a pipe"),
    ],
)
def test_links_and_devices_in_a_zip_are_refused(kind, said, tmp_path, refused):
    archive = zipped(tmp_path / "x.zip", {"odd": b"../x"}, external_attr=(kind | 0o777) << 16, create_system=3)
    assert said in refused(archive)


def test_encrypted_zips_are_refused(tmp_path, refused):
    data = bytearray(zipped(tmp_path / "x.zip", {"secret.jpg": b"x" * 100}).read_bytes())
    data[6] |= 1  # of the member's own header
    data[data.index(b"PK\1\2") + 8] |= 1  # of the directory
    (tmp_path / "x.zip").write_bytes(data)
    assert "secret.jpg is encrypted" in refused(tmp_path / "x.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@BOTH
@pytest.mark.parametrize("names", [("a/1.jpg", "a/1.jpg"), ("a/1.jpg", "./a//1.jpg"), ("a/b/c.jpg", "a/b")])
def test_a_name_that_is_there_twice_is_refused(names, kind, tmp_path, refused):
    assert f"holds {names[1].removeprefix('./').replace('//', '/')} twice" in refused(
        make(tmp_path / kind, [(name, b"%d" % number) for number, name in enumerate(names)])
    ).replace("./", "").replace("//", "/")


@BOTH
def test_a_file_that_is_a_folder_too_is_refused(kind, tmp_path, refused):
    refused(make(tmp_path / kind, [("a", b"x"), ("a/b.jpg", b"x")]))


@EVERY
def test_too_many_files_are_refused(kind, tmp_path, refused, folder):
    archive = make(tmp_path / kind, {f"{number}.jpg": b"x" for number in range(30)})
    assert "more than 20 files" in refused(archive, Limits(1000, 20))
    assert len(under(folder)) == 20


@BOTH
def test_too_many_folders_are_refused(kind, tmp_path, refused):
    if kind == "x.zip":
        archive = zipped(tmp_path / kind, {f"{number}/": b"" for number in range(500)} | {"x": b""})
    else:
        archive = tarred(tmp_path / kind, {f"{number}": b"" for number in range(500)}, type=tarfile.DIRTYPE)
    assert "more than 20 files" in refused(archive, Limits(1000, 20))


@EVERY
def test_as_many_files_and_bytes_as_allowed_are_unpacked(kind, tmp_path, folder):
    unpack(make(tmp_path / kind, {f"{number}.jpg": b"12345" for number in range(20)}), folder, Limits(100, 20))
    assert len(under(folder)) == 20


@EVERY
def test_too_many_bytes_are_refused_before_they_are_written(kind, tmp_path, refused, folder):
    """A bomb: 50 MB of zeros, which are next to nothing when compressed."""
    archive = make(tmp_path / kind, [("small.jpg", b"x"), ("bomb.jpg", bytes(5 * 10**7))])
    tracemalloc.start()
    assert "more than 1,000 files or 0.0 GB: raise" in refused(archive, LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert under(folder) == {"small.jpg": b"x"}
    assert peak < 10**7


@BOTH
def test_many_small_files_are_too_many_bytes_together(kind, tmp_path, refused, folder):
    archive = make(tmp_path / kind, {f"{number}.jpg": bytes(400) for number in range(30)})
    refused(archive, Limits(4000, 100))
    assert len(under(folder)) == 10


def test_a_header_that_says_less_than_a_zip_holds_is_not_believed(tmp_path, refused, folder):
    """The bomb says that it has 10 bytes."""
    data = bytearray(zipped(tmp_path / "x.zip", {"bomb.jpg": bytes(5 * 10**7)}).read_bytes())
    for size in (22, data.index(b"PK\1\2") + 24):
        data[size : size + 4] = struct.pack("<I", 10)
    (tmp_path / "x.zip").write_bytes(data)
    assert "damaged" in refused(tmp_path / "x.zip")
    assert sum(map(len, under(folder).values())) <= 10


def test_a_header_that_says_more_than_a_zip_holds_is_not_believed(tmp_path, refused):
    data = bytearray(zipped(tmp_path / "x.zip", {"1.jpg": b"12345"}, zipfile.ZIP_STORED).read_bytes())
    for size in (22, data.index(b"PK\1\2") + 24):
        data[size : size + 4] = struct.pack("<I", 10)
    (tmp_path / "x.zip").write_bytes(data)
    assert "damaged" in refused(tmp_path / "x.zip")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_long_name_in_a_tar_takes_no_memory_without_limit(kind, tmp_path, refused):
    """A name of 30 MB: tarfile would read it whole."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = kind, 3 * 10**7
    name = b"a" * header.size + bytes(-header.size % 512)
    member = tarfile.TarInfo("x.jpg").tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "x.tar.gz").write_bytes(
        gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + name + member + bytes(1024), 1)
    )
    del name
    tracemalloc.start()
    refused(tmp_path / "x.tar.gz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10**7


@pytest.mark.parametrize("share", [0.001, 0.02, 0.2, 0.5, 0.8, 0.99])
@EVERY
def test_archives_that_are_cut_off_are_refused(kind, share, tmp_path, refused):
    data = make(tmp_path / kind, TREE).read_bytes()
    if kind == "x.tar":
        data = data.rstrip(b"\0")  # that fill it up
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


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "x.tar"])  # which has no sums of its contents
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
            except StageError:
                refusals += 1
            else:
                # What holds no file's bytes, such as a date or a name in a zip's directory, may have changed.
                assert sorted(under(Path(target)).values()) == sorted(TREE.values()), place
    assert refusals > 30


def test_a_flipped_byte_in_a_zip_names_the_file(tmp_path, refused):
    data = bytearray(zipped(tmp_path / "x.zip", TREE, zipfile.ZIP_STORED).read_bytes())
    data[data.index(TREE["dog/3.jpg"]) + 10] ^= 1
    (tmp_path / "x.zip").write_bytes(data)
    assert "dog/3.jpg" in refused(tmp_path / "x.zip")


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello\n",
        b"PK",
        b"PK\3\4",
        b"PK\5\6",
        b"\x1f\x8b\x08",
        b"BZh9",
        b"\xfd7zXZ\0",
        bytes(100),
        b"<!DOCTYPE html><html>404</html>" * 100,
        gzip.compress(b"hello"),
        gzip.compress(NOISE[:5000]),
        NOISE[:5000],
        zlib.compress(b"hello"),
    ],
    ids=range(14),
)
def test_what_is_no_archive_is_said(data, name, tmp_path, refused):
    (tmp_path / name).write_bytes(data)
    assert not is_archive(tmp_path / name)
    assert "no zip or tar archive" in refused(tmp_path / name)


@pytest.mark.parametrize(
    "compressed", [gzip.compress(bytes(10**4)), bz2.compress(bytes(10**4)), lzma.compress(bytes(10**4)), bytes(10**4)]
)
def test_zeros_are_no_archive_with_files(compressed, tmp_path, refused):
    (tmp_path / "x.tar").write_bytes(compressed)
    refused(tmp_path / "x.tar")


def test_a_missing_archive_is_said(tmp_path, refused):
    assert "there is no archive" in refused(tmp_path / "x.zip")
    (tmp_path / "x.zip").mkdir()
    assert "there is no archive" in refused(tmp_path / "x.zip")
    assert not is_archive(tmp_path / "x.zip")


@EVERY
def test_an_archive_without_files_is_refused(kind, tmp_path, refused):
    assert "holds no files" in refused(make(tmp_path / kind, {}))


@EVERY
def test_an_archive_of_junk_alone_is_refused(kind, tmp_path, refused):
    assert "holds no files" in refused(make(tmp_path / kind, {"__MACOSX/x.jpg": b"x", ".DS_Store": b"x"}))


def test_an_archive_of_folders_alone_is_refused(tmp_path, refused):
    assert "holds no files" in refused(zipped(tmp_path / "x.zip", {"a/": b"", "a/b/": b""}))


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
        except StageError:
            pass
        else:
            assert inner.is_relative_to(folder)
            # Every file is there: zip ends a name at a NUL, and what ends with a slash is a folder there.
            files = [name.split("\0")[0] if kind == "x.zip" else name for name in names]
            files = [name for name in files if not (kind == "x.zip" and name.endswith("/"))]
            assert len(under(folder)) == sum(not MESSY & set(PurePosixPath(name).parts) for name in files)
        assert [path.name for path in (Path(base) / "around").iterdir()] == ["in"]
        assert sorted(path.name for path in Path(base).iterdir()) == ["around", kind]
