"""Tar archives, plain or compressed."""

import bz2
import contextlib
import functools
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Self

from darkroom.core.errors import UserError, environment_sentence
from darkroom.download.archives import names, refusals
from darkroom.download.archives.members import DamagedError, Member, Unpacking

MAX_NAME_SIZE = 2**20  # bytes of a header that holds a name
LABEL, CONTINUED = b"V", b"M"  # of GNU tar: the name of the volume, and the rest of a file in the volume before


def open_zstandard(source: Path | IO[bytes], mode: str = "rb") -> IO[bytes]:
    """Open what Zstandard has compressed, even with a window as large as `zstd --long=31` makes it."""
    from backports import zstd

    opener: Callable[..., Any] = zstd.open
    return opener(source, mode, options={zstd.DecompressionParameter.window_log_max: 31})


COMPRESSIONS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x5d\0\0": lzma.open,
    b"\x28\xb5\x2f\xfd": open_zstandard,
    b"\x50\x2a\x4d\x18": open_zstandard,  # of pzstd, which works on all cores
}


def unpack(archive: Path, into: Unpacking) -> None:
    """Unpack a tar archive.

    Raises:
        UserError: a member is refused.
        Exception: nearly any, if it is damaged.
    """
    rename: Callable[[str], str] = str
    with _opened(archive) as (opened, stream):
        for info in opened:
            if info.type == LABEL:
                continue
            if info.type == CONTINUED:
                raise UserError(refusals.split_tar(into.name))
            if rename is str and not names.is_certain(info.name):
                rename = names.of_tar(_names(archive, into.budget.limits.files))
            name = rename(info.name)
            if info.islnk():
                into.link(Member(name), rename(info.linkname))
                continue
            refusal = None if info.isfile() or info.isdir() else "a link" if info.issym() else "a device or a pipe"
            member = Member(name, 0 if refusal or info.isdir() else info.size, info.isdir(), refusal)
            into.write(member, _content(opened, info))
        for _ in range(1000):  # to the end, where the checksum is; no honest archive has more padding
            if not stream.read(2**20):
                return
        raise DamagedError("too much data after its end")


def is_tar(archive: Path) -> bool:
    """Whether a file begins as a tar does, after decompression."""
    try:
        with _opened(archive):
            return True
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if environment_sentence(error):
            raise
        return False
    except Exception as error:
        if type(error).__name__ == "ZstdError":  # importing it would take time
            return False
        raise


class _Header(tarfile.TarInfo):
    """A header that raises an error if it is damaged or truncated; tarfile would take it for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """The next header."""
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the zeros that end an archive
                raise
            raise tarfile.ReadError(str(error)) from None

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """A header from its bytes."""
        header = super().frombuf(buf, encoding, errors)
        if not (header.isfile() or header.isdir()) and header.size > MAX_NAME_SIZE:  # tarfile would read it all
            raise tarfile.ReadError("a name is too long")
        return header


def _opener(archive: Path) -> Callable[..., Any] | None:
    """What opens a file that is compressed as one; None if it is not."""
    with archive.open("rb") as stream:
        start = stream.read(6)
    return next((opener for magic, opener in COMPRESSIONS.items() if start.startswith(magic)), None)


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[tuple[tarfile.TarFile, IO[bytes]]]:
    """The archive as a stream: each member is checked before anything after it is decompressed.

    The compression modules' own files are used; tarfile's know neither checksums nor archives compressed in pieces.
    """
    with (
        (_opener(archive) or Path.open)(archive, "rb") as stream,
        tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header, encoding="utf-8") as opened,
    ):
        yield opened, stream


def _content(opened: tarfile.TarFile, info: tarfile.TarInfo) -> Iterator[bytes]:
    if data := opened.extractfile(info):
        yield from iter(functools.partial(data.read, 2**20), b"")


def _names(archive: Path, most: int) -> list[str]:
    """The names in an archive, which are read before it is unpacked where they are not UTF-8."""
    found = []
    with _opened(archive) as (opened, _), contextlib.suppress(Exception):  # unpacking will meet the damage again
        for info in opened:
            found.append(info.name)
            if len(found) > most:
                break
    return found
