"""Unpacking of untrusted archives: zip, or tar with any compression that Python supports."""

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

JUNK = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}  # left in archives by operating systems
COMPRESSIONS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x5d\0\0": lzma.open,
}
REFUSED_MODES = {stat.S_IFLNK: "a link", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFIFO: "a pipe"}
MAX_NAME_SIZE = 2**20  # bytes of a header that holds a name
MAX_DEPTH = 50  # nested folders


class Limits(NamedTuple):
    """The most that an archive may unpack to."""

    bytes: int
    files: int


class Member(NamedTuple):
    """An entry of an archive; `refusal` is why it is not allowed, such as a link, or None for a file or folder."""

    name: str
    refusal: str | None
    folder: bool
    size: int
    data: IO[bytes] | None


def unpack(archive: Path, folder: Path, limits: Limits) -> Path:
    """Unpack into `folder`, which is empty, and return the outermost folder in it with more than one entry or a file.

    Raises:
        UserError: the file is not an archive, is damaged, or contains an absolute path, `..`, a link, a device, the
            same name twice, or more than the limits allow.
    """
    kind, members = _members(archive)
    bytes_left, entries, files = limits.bytes, 0, 0
    try:
        for member in members:
            target = folder / _safe_path(archive, member)
            if JUNK & set(PurePosixPath(member.name).parts):
                continue
            entries += 1
            files += not member.folder
            bytes_left -= member.size
            if entries > limits.files or bytes_left < 0:
                raise UserError(
                    f"{archive} unpacks to more than {limits.files:,} files or {limits.bytes / 1e9:,.1f} GB: raise "
                    "download.unpacked_files and download.unpacked_gb if that is intended."
                )
            if member.folder:
                target.mkdir(parents=True, exist_ok=True)
                continue
            if target.exists():
                raise UserError(f"{archive} contains {member.name} twice.")
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as stream:
                shutil.copyfileobj(member.data or io.BytesIO(), stream, 2**20)
            if target.stat().st_size != member.size:
                raise UserError(f"{archive} is damaged: {member.name} is shorter than it should be.")
    except UserError:
        raise
    except Exception as error:  # zipfile, tarfile and the decompressors raise nearly anything on damaged input
        raise UserError(f"{archive} is a damaged {kind} archive ({error}): download it again.") from None
    if not files:
        raise UserError(f"{archive} contains no files.")
    return _without_outer(folder)


def is_archive(path: Path) -> bool:
    """Whether a path is a file that `unpack` accepts."""
    return path.is_file() and (_is_tar(path) or zipfile.is_zipfile(path))


def _safe_path(archive: Path, member: Member) -> Path:
    """The member's path, if it is a file or folder that stays inside the target folder."""
    if member.refusal:
        raise UserError(f"{archive} is refused: {member.name} is {member.refusal}.")
    for flavour in (PurePosixPath, PureWindowsPath):
        path = flavour(member.name)
        if path.is_absolute() or path.drive or ".." in path.parts or "\0" in member.name:
            raise UserError(f"{archive} is refused: {member.name!r} would lie outside the folder.")
    if len(PurePosixPath(member.name).parts) > MAX_DEPTH:
        raise UserError(f"{archive} is refused: {member.name[:50]!r}... lies in more than {MAX_DEPTH} folders.")
    return Path(*PurePosixPath(member.name).parts)


def _members(archive: Path) -> tuple[str, Iterator[Member]]:
    if not archive.is_file():
        raise UserError(f"there is no archive {archive}: check download.path.")
    if _is_tar(archive):  # first: a tar may end with a zip
        return "tar", _tar_members(archive)
    if zipfile.is_zipfile(archive):
        return "zip", _zip_members(archive)
    raise UserError(f"{archive} is not a zip or tar archive, or is damaged.")


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


@contextlib.contextmanager
def _opened_tar(archive: Path) -> Iterator[tuple[tarfile.TarFile, IO[bytes]]]:
    """The archive as a stream: each member is checked before anything after it is decompressed.

    The compression modules' own files are used; tarfile's know neither checksums nor archives compressed in pieces.
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
            refusal = REFUSED_MODES.get(stat.S_IFMT(mode)) or ("encrypted" if info.flag_bits & 1 else None)
            if info.is_dir() or refusal:
                yield Member(info.filename, refusal, info.is_dir(), 0, None)
            else:
                # A ZipExtFile returns at most the size stated in the archive, and verifies the checksum.
                with opened.open(info) as data:
                    yield Member(info.filename, None, False, info.file_size, data)


def _tar_members(archive: Path) -> Iterator[Member]:
    with _opened_tar(archive) as (opened, stream):
        for info in opened:
            link = "a link" if info.issym() or info.islnk() else None
            refusal = link or (None if info.isfile() or info.isdir() else "a device or a pipe")
            data = None if refusal or info.isdir() else opened.extractfile(info)
            yield Member(info.name, refusal, info.isdir(), info.size, data)
        for _ in range(1000):  # to the end, where the checksum is; no honest archive has more padding
            if not stream.read(2**20):
                return
        raise tarfile.ReadError("too much data after its end")


def _without_outer(folder: Path) -> Path:
    """The folder without the outer ones; archives often contain a single folder with everything else."""
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    return _without_outer(entries[0]) if len(entries) == 1 and entries[0].is_dir() else folder
