"""Each reason why an archive cannot be unpacked has its own sentence, with the remedy that works."""

import errno
import gzip
import os
import struct
import zipfile
from pathlib import Path

import pytest

from darkroom.core.errors import UserError
from darkroom.download.archives import members, unpack, zips
from darkroom.download.archives.kinds import is_archive
from darkroom.download.archives.refusals import UNSUPPORTED
from tests.helpers.archive_files import EVERY, LIMITS, NOISE, TREE, make, seven_zipped, tarred, zipped

YOURSELF = "unpack it yourself, for example with `{}`, and set download.path to the folder."


@pytest.mark.parametrize(("place", "mark", "kind", "command"), UNSUPPORTED, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", ["my x.zip", "x"])
def test_archives_of_other_kinds_are_named(place, mark, kind, command, name, tmp_path, refused):
    (tmp_path / name).write_bytes(NOISE[:place] + mark + NOISE[:100])
    assert is_archive(tmp_path / name)
    command = command.replace("{file}", "'my x.zip'" if " " in name else name)
    message = refused(tmp_path / name)
    assert f"{name} is {kind}, which is not supported: unpack it yourself, for example with `{command}`, and" in message
    assert message.endswith("to the file that it becomes." if "compressed by" in kind else "to the folder.")


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x"])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE html><html>404</html>", ["is a web page", "open its address in a browser"]),
        (b"\n\n  <HTML><head>", ["is a web page"]),
        (b"\xef\xbb\xbf<html>", ["is a web page"]),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', ["is a web page or a server's message"]),
        (b'{"message": "401 Unauthorized"}', ["a server's message"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", ["is a pointer of Git LFS", "`git lfs pull`"]),
        (b"", ["is empty: download it again"]),
    ],
    ids=range(7),
)
def test_what_was_saved_instead_of_an_archive_is_named(data, words, name, tmp_path, refused):
    (tmp_path / name).write_bytes(data)
    message = refused(tmp_path / name)
    assert all(word in message for word in words), message
    assert "damaged" not in message


JOIN = "is a part of a split archive: join the parts, for example with `cat {} > whole-{}`, and set download.path to"


@pytest.mark.parametrize("data", [NOISE[:1000], b"PK\3\4" + NOISE[:1000]], ids=["later", "first"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.zip.001", JOIN.format("x.zip.*", "x.zip")),
        ("x.zip.012", JOIN.format("x.zip.*", "x.zip")),
        ("my x.7z.002", JOIN.format("'my x.7z'.*", "my x.7z")),
        ("x.tar.gz.aa", JOIN.format("x.tar.gz.*", "x.tar.gz")),
        ("x.tar.gzab", JOIN.format("x.tar.gz*", "x.tar.gz")),
        ("x.z01", "a part of a split zip archive: join the parts, for example with `zip -s 0 x.zip --out whole.zip`"),
        ("x.part1.rar", "is a part of a split RAR archive: unpack all, for example with `unar x.part1.rar`"),
        ("x.part07.rar", "is a part of a split RAR archive"),
        ("x.r00", "is a part of a split RAR archive: unpack all, for example with `unar x.rar`"),
    ],
)
def test_a_part_of_a_split_archive_is_named(name, words, data, tmp_path, refused):
    (tmp_path / name).write_bytes(data)
    assert is_archive(tmp_path / name)
    assert words in refused(tmp_path / name)


@EVERY
def test_the_first_part_of_every_kind_is_named(kind, tmp_path, refused):
    data = make(tmp_path / kind, TREE).read_bytes()
    part = tmp_path / f"{kind}.001"
    part.write_bytes(data[: len(data) // 2])
    assert "is a part of a split archive" in refused(part)
    part.write_bytes(data)  # there is only one
    unpack.unpack(part, part.with_name("out"), LIMITS)


def test_the_last_part_of_a_split_zip_is_named(tmp_path, refused):
    data = bytearray(zipped(tmp_path / "x.zip", TREE).read_bytes())
    place = data.rindex(b"PK\5\6")
    data[place + 4 : place + 8] = struct.pack("<HH", 2, 2)
    (tmp_path / "x.zip").write_bytes(data)
    assert "is a part of a split zip archive: join the parts, for example with `zip -s 0 x.zip" in refused(
        tmp_path / "x.zip"
    )


def test_the_last_part_of_a_large_split_zip_is_named(tmp_path, refused):
    data = bytearray(zipped(tmp_path / "x.zip", TREE).read_bytes())
    place = data.rindex(b"PK\5\6")
    locator = b"PK\6\7" + struct.pack("<IQI", 1, 0, 2)
    data[place + 4 : place + 8] = b"\xff" * 4
    (tmp_path / "x.zip").write_bytes(data[:place] + locator + data[place:])
    assert "is a part of a split zip archive" in refused(tmp_path / "x.zip")


def test_a_volume_of_a_tar_is_named(tmp_path, refused):
    assert "is a part of a split tar archive" in refused(tarred(tmp_path / "x.tar", {"1.jpg": b""}, type=b"M"))


def test_the_label_of_a_tar_is_no_file(tmp_path, folder):
    archive = tarred(tmp_path / "x.tar", {"Backup": b""}, type=b"V")
    archive.write_bytes(archive.read_bytes()[:512] + tarred(tmp_path / "y.tar", TREE).read_bytes())
    unpack.unpack(archive, folder, LIMITS)
    assert not (folder / "Backup").exists()


@pytest.mark.parametrize(
    ("number", "method"),
    [(1, "Shrink"), (6, "Implode"), (96, "WinZip JPEG"), (98, "PPMd"), (99, "AES"), (77, "number 77")],
)
def test_an_unsupported_method_of_a_zip_is_named(number, method, tmp_path, refused, folder):
    data = bytearray(zipped(tmp_path / "x.zip", {"0.jpg": b"x", "1.jpg": b"x"}, zipfile.ZIP_STORED).read_bytes())
    place = data.rindex(b"PK\1\2")
    data[place + 10 : place + 12] = struct.pack("<H", number)
    (tmp_path / "x.zip").write_bytes(data)
    sentence = f"x.zip is compressed with a method that is not supported ({method}): {YOURSELF.format('7z x x.zip')}"
    assert sentence in refused(tmp_path / "x.zip")
    assert not list(folder.iterdir())


def test_an_unsupported_method_of_a_7z_is_named(tmp_path, refused, monkeypatch):
    import py7zr.compressor

    archive = seven_zipped(tmp_path / "x.7z", TREE)
    methods = [row for row in py7zr.compressor.SupportedMethods.methods if row["name"] != "LZMA2"]
    lzma2 = next(row["id"] for row in py7zr.compressor.SupportedMethods.methods if row["name"] == "LZMA2")
    monkeypatch.setattr(py7zr.compressor.SupportedMethods, "methods", methods)
    assert f"method that is not supported (number {lzma2.hex()})" in refused(archive)
    monkeypatch.setattr("darkroom.download.archives.seven_zip.METHODS", {lzma2: "BCJ2"})
    assert f"with a method that is not supported (BCJ2): {YOURSELF.format('7z x x.7z')}" in refused(archive)


@pytest.mark.parametrize("header", [False, True])
def test_an_encrypted_7z_is_named(header, tmp_path, refused):
    archive = seven_zipped(tmp_path / "x.7z", TREE, password="secret", header_encryption=header)
    assert f"x.7z is encrypted: {YOURSELF.format('7z x x.7z')}" in refused(archive)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, ["there is no space left on the disk that holds", "around (", " free): free some"]),
        (errno.EDQUOT, ["your quota on the disk"]),
        (errno.EMFILE, ["too many files are open"]),
        (errno.EROFS, ["can only be read"]),
        (errno.EACCES, ["there is no permission for"]),
    ],
)
@EVERY
def test_an_error_of_the_machine_is_no_damage(code, words, kind, tmp_path, refused, folder, monkeypatch):
    archive = make(tmp_path / kind, TREE)
    opened = Path.open

    def fail(path, mode="r", *args, **options):
        if "w" in mode:
            raise OSError(code, os.strerror(code), str(path))
        return opened(path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", fail)
    message = refused(archive)
    assert f"{kind} cannot be unpacked: " in message
    assert "damaged" not in message


@EVERY
def test_a_really_full_disk_is_named(kind, tmp_path, refused, monkeypatch):
    archive = make(tmp_path / kind, TREE)
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode="r", *rest, **options: opened(Path("/dev/full") if "w" in mode else path, mode)
    )
    assert "cannot be unpacked: there is no space left on the disk that holds" in refused(archive)


@EVERY
def test_too_little_memory_is_named(kind, tmp_path, refused, monkeypatch):
    archive = make(tmp_path / kind, TREE)

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(members.Unpacking, "place", fail)
    assert "cannot be unpacked: there is not enough memory" in refused(archive)


@EVERY
def test_an_archive_without_permission_is_named(kind, tmp_path, refused, monkeypatch):
    archive = make(tmp_path / kind, TREE)

    def fail(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", fail)
    assert f"{kind} cannot be unpacked: there is no permission for {archive}: " in refused(archive)


@EVERY
def test_a_name_too_long_is_named(kind, tmp_path, refused):
    message = refused(make(tmp_path / kind, {f"{'ü' * 128}/1.jpg": b"x"}))
    assert "cannot be unpacked: the name üüü" in message
    assert "longer than the 255 bytes that file systems allow: pack it again with shorter names." in message


@EVERY
def test_a_fault_of_the_program_is_no_damage(kind, tmp_path, folder, monkeypatch):
    monkeypatch.setattr(members, "MAX_DEPTH", None)
    with pytest.raises(TypeError, match="not supported between instances of 'int' and 'NoneType'"):
        unpack.unpack(make(tmp_path / kind, TREE), folder, LIMITS)


def test_damage_in_a_zip_is_told_by_its_cause(tmp_path, refused):
    data = bytearray(zipped(tmp_path / "x.zip", TREE, zipfile.ZIP_STORED).read_bytes())
    data[data.index(TREE["dog/3.jpg"]) + 10] ^= 1
    (tmp_path / "x.zip").write_bytes(data)
    name = tmp_path / "x.zip"
    assert refused(name) == f"{name} is a damaged zip archive (Bad CRC-32 for file 'dog/3.jpg'): download it again."


def test_damage_in_a_7z_is_told_by_its_cause(tmp_path, refused):
    from py7zr import FILTER_COPY

    data = bytearray(seven_zipped(tmp_path / "x.7z", TREE, filters=[{"id": FILTER_COPY}]).read_bytes())
    data[2000] ^= 1
    (tmp_path / "x.7z").write_bytes(data)
    assert "x.7z is a damaged 7z archive (Bad CRC-32 for file 'cat/2.jpg'): " in refused(tmp_path / "x.7z")


def test_messages_use_the_name_that_the_user_knows(tmp_path, folder):
    (tmp_path / "0123.partial").write_bytes(gzip.compress(b"x"))
    with pytest.raises(UserError, match=r"^https://x\.org/pets\.zip is not a zip, 7z or tar archive"):
        unpack.unpack(tmp_path / "0123.partial", folder, LIMITS, "https://x.org/pets.zip")
    assert zips.METHODS.keys().isdisjoint(zips.STREAMS)
