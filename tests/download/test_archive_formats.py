"""What the newer formats can contain: Deflate64, Zstandard and xz in zips; 7z; hard links in a tar."""

import functools
import io
import lzma
import random
import stat
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
import zlib

import pytest
from backports import zstd

from darkroom.core.errors import UserError
from darkroom.download.archives.kinds import is_archive
from darkroom.download.archives.members import Budget, Limits, Member, Unpacking
from darkroom.download.archives.unpack import unpack
from tests.helpers.archive_files import LIMITS, NOISE, TREE, seven_zipped, tarred, under

BOMB = bytes(10**8)


DEFLATE64 = """
import sys, inflate64
deflater = inflate64.Deflater()
sys.stdout.buffer.write(deflater.deflate(sys.stdin.buffer.read()) + deflater.flush())
"""


@functools.cache
def deflate64(data):
    """In a process without TensorFlow, whose zlib has functions of the same names, and would end this one."""
    return subprocess.run([sys.executable, "-c", DEFLATE64], input=data, capture_output=True, check=True).stdout


def xz(data):
    return lzma.compress(data, preset=0)


METHODS = {"Deflate64": (9, deflate64), "Zstandard": (93, zstd.compress), "xz": (95, xz)}
EACH_METHOD = pytest.mark.parametrize("method", METHODS)


def zipped_by(path, files, method, size=None, crc=None):
    """A zip with members that zipfile cannot write: stored, and then renumbered."""
    number, compress = METHODS[method]
    packed = {name: compress(data) for name, data in files.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in packed.items():
            archive.writestr(name, data)
        infos = archive.infolist()
    whole = bytearray(path.read_bytes())
    place = archive.start_dir
    for info in infos:
        data = files[info.filename]
        sums = struct.pack("<III", zlib.crc32(data) if crc is None else crc, info.compress_size, size or len(data))
        start = info.header_offset
        whole[start + 8 : start + 10] = whole[place + 10 : place + 12] = struct.pack("<H", number)
        whole[start + 14 : start + 26] = whole[place + 16 : place + 28] = sums
        place += 46 + len(info.filename.encode())
    path.write_bytes(whole)
    return path


LARGE = {"text/1.jpg": b"".join(random.Random(3).choices([b"tree ", b"bird ", b"house "], k=100_000)), "2.jpg": NOISE}


@EACH_METHOD
@pytest.mark.parametrize("files", [TREE, TREE | {"empty.txt": b""}, LARGE], ids=["tree", "empty", "large"])
def test_zips_of_rarer_methods_are_unpacked(files, method, tmp_path, folder):
    archive = zipped_by(tmp_path / "x.zip", files, method)
    assert is_archive(archive)
    unpack(archive, folder, LIMITS)
    assert under(folder) == files


@EACH_METHOD
def test_damage_in_rarer_methods_is_found(method, tmp_path, refused):
    archive = zipped_by(tmp_path / "x.zip", {"1.jpg": NOISE[:5000]}, method, crc=1)
    assert "x.zip is a damaged zip archive (Bad CRC-32 for file '1.jpg'): download it again." in refused(archive)


@EACH_METHOD
def test_a_member_of_rarer_methods_that_is_cut_off_is_damaged(method, tmp_path, refused, monkeypatch):
    number, compress = METHODS[method]
    monkeypatch.setitem(METHODS, method, (number, lambda data: compress(data)[:-10]))
    assert "is a damaged zip archive (" in refused(zipped_by(tmp_path / "x.zip", {"1.jpg": NOISE[:5000]}, method))


@EACH_METHOD
@pytest.mark.parametrize("size", [10, 10**6])
def test_bombs_of_rarer_methods_write_no_more_than_they_say(size, method, tmp_path, refused, folder):
    archive = zipped_by(tmp_path / "x.zip", {"bomb.jpg": BOMB}, method, size)
    tracemalloc.start()
    assert "damaged" in refused(archive)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(map(len, under(folder).values())) <= size
    assert peak < 7 * 10**7


@EACH_METHOD
def test_the_limits_hold_for_rarer_methods(method, tmp_path, refused, folder):
    archive = zipped_by(tmp_path / "x.zip", {"bomb.jpg": bytes(2 * 10**6)}, method)
    assert "more than" in refused(archive, Limits(10**6, 10))
    assert not under(folder)


def filters(name):
    import py7zr

    return [{"id": getattr(py7zr, f"FILTER_{name}")} | ({"preset": 0} if name.startswith("LZMA") else {})]


@pytest.mark.parametrize("name", ["LZMA2", "LZMA", "BZIP2", "DEFLATE", "COPY", "ZSTD", "BROTLI", "PPMD"])
def test_7z_archives_of_every_method_are_unpacked(name, tmp_path, folder):
    options = filters(name)
    options[0] |= {"PPMD": {"order": 6, "mem": 24}, "BROTLI": {"level": 1}}.get(name, {})
    unpack(seven_zipped(tmp_path / "x.7z", LARGE | TREE, filters=options), folder, LIMITS)
    assert under(folder) == LARGE | TREE


@pytest.mark.parametrize("name", ["DEFLATE", "ZSTD"])
def test_a_7z_bomb_takes_little_memory(name, tmp_path, folder):
    """The size is allowed; that more than a part of it is never in memory is what counts."""
    archive = seven_zipped(tmp_path / "x.7z", {"bomb.jpg": BOMB}, filters=filters(name))
    tracemalloc.start()
    unpack(archive, folder, Limits(10**9, 10))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 10**7


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        (stat.S_IFLNK << 16 | 0x8000, "odd is a link"),
        (0x400 | 0x10, "odd is a link"),  # a junction of Windows
        (stat.S_IFSOCK << 16 | 0x8000, "odd is a device or a pipe"),
        (stat.S_IFCHR << 16 | 0x8000, "odd is a device or a pipe"),
        (stat.S_IFIFO << 16 | 0x8000, "odd is a device or a pipe"),
    ],
)
def test_links_and_devices_in_a_7z_are_refused(attributes, reason, tmp_path, refused, folder):
    assert reason in refused(seven_zipped(tmp_path / "x.7z", {"odd": b"../x"}, attributes))
    assert not under(folder)


def test_a_7z_of_folders_and_empty_files_is_unpacked(tmp_path, folder):
    import py7zr

    (tmp_path / "in/empty").mkdir(parents=True)
    (tmp_path / "in/1.jpg").write_bytes(b"x")
    (tmp_path / "in/2.jpg").touch()
    with py7zr.SevenZipFile(tmp_path / "x.7z", "w") as archive:
        archive.writeall(tmp_path / "in", "in")
    unpack(tmp_path / "x.7z", folder, LIMITS)
    assert under(folder) == {"in/1.jpg": b"x", "in/2.jpg": b""}
    assert (folder / "in/empty").is_dir()


def test_a_7z_of_nothing_is_no_damage(tmp_path, refused):
    """As 7-Zip writes it: a start without a directory."""
    (tmp_path / "x.7z").write_bytes(b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<IQQI", zlib.crc32(bytes(20)), 0, 0, 0))
    assert "x.7z contains no files" in refused(tmp_path / "x.7z")


def test_a_7z_of_folders_without_attributes(tmp_path, folder, monkeypatch):
    """As `7z -mtr=off` writes it, and py7zr cannot: what has neither content nor attributes is a folder."""
    import py7zr.py7zr

    (tmp_path / "empty").mkdir()
    with py7zr.SevenZipFile(tmp_path / "x.7z", "w") as archive:
        archive.write(tmp_path / "empty", "cat")
        archive.writestr(b"x", "cat/1.jpg")
    found = py7zr.py7zr.ArchiveFile._get_property
    monkeypatch.setattr(
        py7zr.py7zr.ArchiveFile, "_get_property", lambda file, key: None if key == "attributes" else found(file, key)
    )
    unpack(tmp_path / "x.7z", folder, LIMITS)
    assert under(folder) == {"cat/1.jpg": b"x"}


def linked(path, links, files=None, mode="w"):
    """A tar with hard links: pairs of a name and the name that it is another for."""
    with tarfile.open(path, mode) as archive:
        for name, data in (files or TREE).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, original in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.LNKTYPE, original
            archive.addfile(info)
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_hard_link_inside_a_tar_is_a_file(mode, tmp_path, folder):
    links = [("dog/same.jpg", "cat/1.jpg"), ("new/again.jpg", "./dog/same.jpg")]
    unpack(linked(tmp_path / "x.tar", links, mode=mode), folder, LIMITS)
    assert under(folder) == TREE | {"dog/same.jpg": TREE["cat/1.jpg"], "new/again.jpg": TREE["cat/1.jpg"]}


@pytest.mark.parametrize(
    ("original", "reason"),
    [
        ("../x", "'../x' would lie outside"),
        ("/etc/passwd", "'/etc/passwd' would lie outside"),
        ("cat/9.jpg", "odd is a link to cat/9.jpg, which is not before it"),
        ("cat", "odd is a link to cat, which is not before it"),
        ("odd", "odd is a link to odd, which is not before it"),
    ],
)
def test_a_hard_link_to_anything_else_is_refused(original, reason, tmp_path, refused):
    assert reason in refused(linked(tmp_path / "x.tar", [("odd", original)]))


def test_hard_links_count_as_files(tmp_path, refused):
    links = [(f"{number}.jpg", "cat/1.jpg") for number in range(50)]
    assert "more than 20 files" in refused(linked(tmp_path / "x.tar", links), Limits(10**6, 20))


def test_the_bytes_of_hard_links_count(tmp_path, refused):
    links = [(f"{number}.jpg", "cat/1.jpg") for number in range(50)]
    assert "0.0 GB" in refused(linked(tmp_path / "x.tar", links), Limits(10_000, 1000))


def test_a_hard_link_cannot_replace_a_file(tmp_path, refused):
    assert "contains dog/1.jpg twice" in refused(linked(tmp_path / "x.tar", [("dog/1.jpg", "cat/1.jpg")]))


def test_zstandard_in_pieces_and_with_a_large_window_is_unpacked(tmp_path, folder):
    data = tarred(tmp_path / "x.tar", TREE).read_bytes()
    skippable = struct.pack("<II", 0x184D2A50, 4) + bytes(4)  # as pzstd writes them
    options = {zstd.CompressionParameter.window_log: 28}
    pieces = [skippable, zstd.compress(data[:5000]), zstd.compress(data[5000:], options=options)]
    (tmp_path / "x.tzst").write_bytes(b"".join(pieces))
    unpack(tmp_path / "x.tzst", folder, LIMITS)
    assert under(folder) == TREE


@pytest.mark.parametrize("compress", [lzma.compress, zstd.compress])
@pytest.mark.parametrize("name", ["x.csv.xz", "x.jpg"])
def test_a_single_compressed_file_is_no_archive(compress, name, tmp_path):
    (tmp_path / name).write_bytes(compress(b"1,2,3\n" * 1000))
    assert not is_archive(tmp_path / name)


@pytest.mark.parametrize("form", [["--format=oldgnu"], ["--format=gnu"], ["--format=pax", "--sparse-version=1.0"]])
def test_a_sparse_file_counts_at_its_apparent_size(form, tmp_path):
    with (tmp_path / "x.jpg").open("wb") as stream:
        stream.write(NOISE[:4096])
        stream.truncate(3 * 10**9)
    subprocess.run(["tar", "-S", *form, "-cf", "x.tar", "x.jpg"], cwd=tmp_path, check=True)
    assert (tmp_path / "x.tar").stat().st_size < 20_000
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"unpacks to more than 1,000 files or 1\.0 GB"):
        unpack(tmp_path / "x.tar", tmp_path / "out", Limits(10**9, 1000))
    with pytest.raises(UserError, match=r"x\.jpg would take 1,000 TB on the disk that holds .*, but .* free: free"):
        Unpacking("x.tar", tmp_path / "out", Budget(Limits(10**18, 1000))).place(Member("x.jpg", 10**15))
