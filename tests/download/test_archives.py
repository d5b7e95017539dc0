"""Good archives are unpacked completely; hostile ones are refused, and never write outside their folder."""

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import tracemalloc
import zipfile

import pytest

from darkroom.download.archives.kinds import is_archive
from darkroom.download.archives.members import Limits
from darkroom.download.archives.unpack import unpack
from darkroom.download.tree import read_tree
from tests.helpers.archive_files import BOTH, EVERY, LIMITS, TREE, make, tarred, under, zipped


@EVERY
def test_good_archives_are_unpacked_whole(kind, tmp_path, folder):
    archive = make(tmp_path / kind, TREE | {"empty.txt": b"", "cat/Ünïcødé 図.jpg": b"x"})
    assert is_archive(archive)
    assert unpack(archive, folder, LIMITS) == folder
    assert under(folder) == TREE | {"empty.txt": b"", "cat/Ünïcødé 図.jpg": b"x"}


@EVERY
def test_the_name_of_an_archive_does_not_matter(kind, tmp_path, folder):
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
def test_clutter_is_no_reason_to_keep_outer_folders(kind, tmp_path, folder):
    junk = {f"__MACOSX/set/cat/._{number}.jpg": b"junk" for number in range(5)}
    junk |= {"set/.DS_Store": b"junk", "set/cat/Thumbs.db": b"junk", "set/dog/desktop.ini": b"junk"}
    archive = make(tmp_path / kind, junk | {f"set/{name}": data for name, data in TREE.items()})
    inner = read_tree(unpack(archive, folder, LIMITS))
    assert inner.path == folder / "set"
    assert [path.relative_to(inner.path).as_posix() for path in inner.all_files()] == sorted(TREE)
    assert sum(len(tree.clutter) for tree in inner.walk()) == 3


def test_a_folder_with_files_is_not_an_outer_folder(tmp_path, folder):
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


def test_entries_for_folders_do_not_count_as_files(tmp_path, folder):
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
    message = refused(make(tmp_path / kind, {"good.jpg": b"x", name: b"hostile"}))
    assert "outside the folder" in message
    assert repr(name.replace("\\", "/") if kind == "x.7z" else name) in message  # py7zr turns them
    assert "hostile" not in str(under(folder))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.SYMTYPE, "odd is a link"),
        (tarfile.LNKTYPE, "'../x' would lie outside"),
        (tarfile.CHRTYPE, "odd is a device or a pipe"),
        (tarfile.BLKTYPE, "odd is a device or a pipe"),
        (tarfile.FIFOTYPE, "odd is a device or a pipe"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(kind, reason, mode, tmp_path, refused):
    with tarfile.open(tmp_path / "x.tar", mode) as archive:
        archive.addfile(tarfile.TarInfo("empty"))
        info = tarfile.TarInfo("odd")
        info.type, info.linkname = kind, "../x"
        archive.addfile(info)
        archive.addfile(tarfile.TarInfo("odd/inner"))
    assert reason in refused(tmp_path / "x.tar")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (stat.S_IFLNK, "odd is a link"),
        (stat.S_IFCHR, "odd is a device"),
        (stat.S_IFBLK, "odd is a device"),
        (stat.S_IFIFO, "odd is a pipe"),
    ],
)
def test_links_and_devices_in_a_zip_are_refused(kind, reason, tmp_path, refused):
    archive = zipped(tmp_path / "x.zip", {"odd": b"../x"}, external_attr=(kind | 0o777) << 16, create_system=3)
    assert reason in refused(archive)


def test_encrypted_zips_are_refused(tmp_path, refused):
    data = bytearray(zipped(tmp_path / "x.zip", {"secret.jpg": b"x" * 100}).read_bytes())
    data[6] |= 1  # of the member's own header
    data[data.index(b"PK\1\2") + 8] |= 1  # of the directory
    (tmp_path / "x.zip").write_bytes(data)
    assert "x.zip is encrypted: unpack it yourself, for example with `7z x x.zip`" in refused(tmp_path / "x.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@BOTH
@pytest.mark.parametrize("names", [("a/1.jpg", "a/1.jpg"), ("a/1.jpg", "./a//1.jpg"), ("a/b/c.jpg", "a/b")])
def test_a_repeated_name_is_refused(names, kind, tmp_path, refused):
    assert f"contains {names[1].removeprefix('./').replace('//', '/')} twice" in refused(
        make(tmp_path / kind, [(name, b"%d" % number) for number, name in enumerate(names)])
    ).replace("./", "").replace("//", "/")


@BOTH
def test_a_file_that_is_a_folder_too_is_refused(kind, tmp_path, refused):
    refused(make(tmp_path / kind, [("a", b"x"), ("a/b.jpg", b"x")]))


@EVERY
def test_too_many_files_are_refused(kind, tmp_path, refused, folder):
    archive = make(tmp_path / kind, {f"{number}.jpg": b"x" for number in range(30)})
    assert "more than 20 files" in refused(archive, Limits(1000, 20))
    assert len(under(folder)) == (0 if kind == "x.7z" else 20)  # whose directory is read first


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
    """A bomb: zeros, which are next to nothing when compressed."""
    archive = make(tmp_path / kind, [("small.jpg", b"x"), ("bomb.jpg", bytes(3 * 10**7))])
    tracemalloc.start()
    assert "more than 1,000 files or 0.0 GB: raise" in refused(archive, Limits(10**6, 1000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert under(folder) == ({} if kind == "x.7z" else {"small.jpg": b"x"})
    assert peak < (25 if kind == "x.7z" else 10) * 10**6  # LZMA2 has a dictionary of 16 MB


@BOTH
def test_many_small_files_are_too_many_bytes_together(kind, tmp_path, refused, folder):
    archive = make(tmp_path / kind, {f"{number}.jpg": bytes(400) for number in range(30)})
    refused(archive, Limits(4000, 100))
    assert len(under(folder)) == (0 if kind == "x.7z" else 10)


def test_a_header_with_too_small_a_size_is_not_trusted(tmp_path, refused, folder):
    """A bomb with a stated size of 10 bytes."""
    data = bytearray(zipped(tmp_path / "x.zip", {"bomb.jpg": bytes(10**7)}).read_bytes())
    for size in (22, data.index(b"PK\1\2") + 24):
        data[size : size + 4] = struct.pack("<I", 10)
    (tmp_path / "x.zip").write_bytes(data)
    assert "damaged" in refused(tmp_path / "x.zip")
    assert sum(map(len, under(folder).values())) <= 10


def test_a_header_with_too_large_a_size_is_not_trusted(tmp_path, refused):
    data = bytearray(zipped(tmp_path / "x.zip", {"1.jpg": b"12345"}, zipfile.ZIP_STORED).read_bytes())
    for size in (22, data.index(b"PK\1\2") + 24):
        data[size : size + 4] = struct.pack("<I", 10)
    (tmp_path / "x.zip").write_bytes(data)
    assert "damaged" in refused(tmp_path / "x.zip")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_long_name_in_a_tar_takes_no_memory_without_limit(kind, tmp_path, refused):
    """A name of 10 MB: tarfile would read it all."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = kind, 10**7
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
    assert peak < 5 * 10**6
