"""Zip archives, with Deflate64 (of the Windows Explorer, above 2 GB), Zstandard and xz as well."""

import copy
import functools
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from darkroom.core.errors import UserError
from darkroom.download.archives import names, refusals
from darkroom.download.archives.members import DamagedError, Member, Unpacking

REFUSED_MODES = {stat.S_IFLNK: "a link", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFIFO: "a pipe"}
BLOCK = 2**20
SMALL_BLOCK = 2**10  # of Deflate64: its library returns all that a block unpacks to, up to 30,000 times as much
METHODS = {
    **{1: "Shrink", 2: "Reduce", 3: "Reduce", 4: "Reduce", 5: "Reduce", 6: "Implode", 7: "Tokenize", 10: "Implode"},
    **{16: "z/OS compression", 18: "IBM Terse", 19: "IBM LZ77", 94: "MP3", 96: "WinZip JPEG", 97: "WavPack"},
    **{98: "PPMd", 99: "AES"},
}
NATIVE = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}


def unpack(archive: Path, into: Unpacking) -> None:
    """Unpack a zip archive.

    Raises:
        UserError: it is encrypted, split, compressed in another way, or a member is refused.
        Exception: nearly any, if it is damaged.
    """
    if _is_split(archive):
        raise UserError(refusals.split_zip(into.name))
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        if any(info.flag_bits & 1 for info in members):
            raise UserError(refusals.encrypted(into.name))
        if odd := next((info.compress_type for info in members if info.compress_type not in NATIVE | {*STREAMS}), None):
            raise UserError(refusals.unsupported_method(into.name, METHODS.get(odd, f"number {odd}")))
        for info, name in zip(members, names.of_zip(members), strict=True):
            refusal = REFUSED_MODES.get(stat.S_IFMT(info.external_attr >> 16))
            folder = name.endswith("/")
            member = Member(name, 0 if folder or refusal else info.file_size, folder, refusal)
            into.write(member, _content(opened, info))


def _content(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """The blocks of a member, never more than its size by much; the checksum is verified."""
    if info.compress_type in NATIVE:
        # A ZipExtFile returns at most the size stated in the archive, and verifies the checksum.
        with opened.open(info) as stream:
            yield from _blocks(stream, BLOCK)
        return
    stored = copy.copy(info)
    stored.compress_type, stored.file_size = zipfile.ZIP_STORED, info.compress_size
    stored.CRC = None  # type: ignore[assignment]  # that of the unpacked bytes would be expected of the packed ones
    checksum, left = 0, info.file_size
    with opened.open(stored) as packed:
        for block in STREAMS[info.compress_type](packed):
            checksum = zlib.crc32(block, checksum)
            left -= len(block)
            yield block
            if left < 0:
                return  # the one who writes has refused it
    if checksum != info.CRC:
        raise DamagedError(f"Bad CRC-32 for file {info.filename!r}")


def _blocks(stream: IO[bytes], size: int) -> Iterator[bytes]:
    return iter(functools.partial(stream.read, size), b"")


def _deflate64(packed: IO[bytes]) -> Iterator[bytes]:
    from inflate64 import Inflater

    inflater = Inflater()
    for block in _blocks(packed, SMALL_BLOCK):
        try:
            yield inflater.inflate(block)
        except (ValueError, RuntimeError) as error:
            raise DamagedError(str(error)) from None
    if not inflater.eof:
        raise DamagedError("its compressed data ends too early")


def _zstandard(packed: IO[bytes]) -> Iterator[bytes]:
    from darkroom.download.archives.tars import open_zstandard

    with open_zstandard(packed) as stream:
        yield from _blocks(stream, BLOCK)


def _xz(packed: IO[bytes]) -> Iterator[bytes]:
    with lzma.open(packed) as stream:
        yield from _blocks(stream, BLOCK)


STREAMS: dict[int, Callable[[IO[bytes]], Iterator[bytes]]] = {9: _deflate64, 93: _zstandard, 95: _xz}


def _is_split(archive: Path) -> bool:
    """Whether the record at the end of a zip says that there are parts before this one."""
    with archive.open("rb") as stream:
        stream.seek(max(0, archive.stat().st_size - 2**16 - 42))
        tail = stream.read()
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) < place + 6:
        return False
    (disk,) = struct.unpack_from("<H", tail, place + 4)
    if place >= 20 and tail[place - 20 : place - 16] == b"PK\6\7":  # of archives above 4 GB
        (disks,) = struct.unpack_from("<I", tail, place - 4)
        return disks > 1
    return disk not in (0, 0xFFFF)
