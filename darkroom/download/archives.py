"""Unpack an archive that is not trusted: zip, or tar with any compression that Python knows."""

import bz2
import contextlib
import gzip
import io
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, NamedTuple, Self

from darkroom.core.errors import UserError

MESSY = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}  # what operating systems leave in archives
COMPRESSIONS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x5d\0\0": lzma.open,
}
LONGEST_NAME = 2**20  # bytes of a header that holds a name
DEEPEST = 50  # folders in each other


class Limits(NamedTuple):
    """What an archive may unpack to."""

    bytes: int
    files: int


class Member(NamedTuple):
    """A file or a folder in an archive; `kind` is what else it may be: a link, a device."""

    name: str
    kind: str | None
    folder: bool
    size: int
    data: IO[bytes] | None


def unpack(archive: Path, folder: Path, limits: Limits) -> Path:
    """Unpack into `folder`, which is empty, and return the folder in it that has more than one entry or a file.

    Raises:
        UserError: not an archive, a damaged one, or one that holds an absolute path, `..`, a link, a device, the same
            name twice, or more than the limits allow.
    """
    kind, members = _members(archive)
    left, entries, files = limits.bytes, 0, 0
    try:
        for member in members:
            target = folder / _checked(archive, member)
            if MESSY & set(PurePosixPath(member.name).parts):
                continue
            entries += 1
            files += not member.folder
            left -= member.size
            if entries > limits.files or left < 0:
                raise UserError(
                    f"{archive} unpacks to more than {limits.files:,} files or {limits.bytes / 1e9:,.1f} GB: raise "
                    "download.unpacked_files and download.unpacked_gb if that is right."
                )
            if member.folder:
                target.mkdir(parents=True, exist_ok=True)
                continue
            if target.exists():
                raise UserError(f"{archive} holds {member.name} twice.")
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as stream:
                shutil.copyfileobj(member.data or io.BytesIO(), stream, 2**20)
            if target.stat().st_size != member.size:
                raise UserError(f"{archive} is damaged: {member.name} is shorter than it should be.")
    except UserError:
        raise
    except Exception as error:  # zipfile, tarfile and the decompressors raise nearly anything on damaged input
        raise UserError(f"{archive} is a damaged {kind} archive ({error}): fetch it again.") from None
    if not files:
        raise UserError(f"{archive} holds no files.")
    return _inner(folder)


def is_archive(path: Path) -> bool:
    """Whether a path is a file that `unpack` takes."""
    return path.is_file() and (_is_tar(path) or zipfile.is_zipfile(path))


def _checked(archive: Path, member: Member) -> Path:
    """The member's path, if it is an ordinary one that stays in the folder."""
    if member.kind:
        raise UserError(f"{archive} is refused: {member.name} is {member.kind}.")
    for flavour in (PurePosixPath, PureWindowsPath):
        path = flavour(member.name)
        if path.is_absolute() or path.drive or ".." in path.parts or "\0" in member.name:
            raise UserError(f"{archive} is refused: {member.name!r} would lie outside the folder.")
    if len(PurePosixPath(member.name).parts) > DEEPEST:
        raise UserError(f"{archive} is refused: {member.name[:50]!r}... lies in more than {DEEPEST} folders.")
    return Path(*PurePosixPath(member.name).parts)


def _members(archive: Path) -> tuple[str, Iterator[Member]]:
    if not archive.is_file():
        raise UserError(f"there is no archive {archive}: check download.path.")
    if _is_tar(archive):  # first: a tar may end with a zip
        return "tar", _tar_members(archive)
    if zipfile.is_zipfile(archive):
        return "zip", _zip_members(archive)
    raise UserError(f"{archive} is no zip or tar archive, or a damaged one.")


class _Header(tarfile.TarInfo):
    """A damaged header, or one that is cut off, is an error: tarfile takes it for the end of the archive."""

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
        if not (header.isfile() or header.isdir()) and header.size > LONGEST_NAME:  # tarfile would read it whole
            raise tarfile.ReadError("a name without end")
        return header


@contextlib.contextmanager
def _opened_tar(archive: Path) -> Iterator[tuple[tarfile.TarFile, IO[bytes]]]:
    """As a stream: each member is looked at before anything behind it is decompressed.

    The modules' own files, not those of tarfile, which know neither sums nor archives compressed in pieces.
    """
    with archive.open("rb") as stream:
        start = stream.read(6)
    opener = next((opener for magic, opener in COMPRESSIONS.items() if start.startswith(magic)), Path.open)
    with opener(archive, "rb") as stream, tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as opened:
        yield opened, stream


def _is_tar(archive: Path) -> bool:
    try:
        with _opened_tar(archive):
            return True
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError):
        return False


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            mode = info.external_attr >> 16
            odd = {stat.S_IFLNK: "a link", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFIFO: "a pipe"}
            kind = odd.get(stat.S_IFMT(mode)) or ("encrypted" if info.flag_bits & 1 else None)
            if info.is_dir() or kind:
                yield Member(info.filename, kind, info.is_dir(), 0, None)
            else:
                # A ZipExtFile gives no more than the size that the archive states, and checks the sum of what it gave.
                with opened.open(info) as data:
                    yield Member(info.filename, None, False, info.file_size, data)


def _tar_members(archive: Path) -> Iterator[Member]:
    with _opened_tar(archive) as (opened, stream):
        for info in opened:
            link = "a link" if info.issym() or info.islnk() else None
            kind = link or (None if info.isfile() or info.isdir() else "a device or a pipe")
            data = None if kind or info.isdir() else opened.extractfile(info)
            yield Member(info.name, kind, info.isdir(), info.size, data)
        for _ in range(1000):  # to the end, where the sums are; nobody fills up an archive with more than that
            if not stream.read(2**20):
                return
        raise tarfile.ReadError("much lies behind its end")


def _inner(folder: Path) -> Path:
    """Archives often hold one folder that holds the rest."""
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    return _inner(entries[0]) if len(entries) == 1 and entries[0].is_dir() else folder
