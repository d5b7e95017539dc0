"""Unpack an archive that is not trusted: zip, or tar with any compression that Python knows."""

import io
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from stages.common.errors import StageError

MESSY = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}  # what operating systems leave in archives


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
        StageError: not an archive, a damaged one, or one that holds an absolute path, `..`, a link, a device, the same
            name twice, or more than the limits allow.
    """
    kind, members = _members(archive)
    left, files = limits.bytes, 0
    try:
        for member in members:
            target = folder / _checked(archive, member)
            if MESSY & set(PurePosixPath(member.name).parts):
                continue
            if member.folder:
                target.mkdir(parents=True, exist_ok=True)
                continue
            files += 1
            left -= member.size
            if files > limits.files or left < 0:
                raise StageError(
                    f"{archive} unpacks to more than {limits.files:,} files or {limits.bytes / 1e9:,.1f} GB: raise "
                    "download.unpacked_files and download.unpacked_gb if that is right."
                )
            if target.exists():
                raise StageError(f"{archive} holds {member.name} twice.")
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as stream:
                shutil.copyfileobj(member.data or io.BytesIO(), stream, 2**20)
            if target.stat().st_size != member.size:
                raise StageError(f"{archive} is damaged: {member.name} is shorter than it should be.")
    except StageError:
        raise
    except Exception as error:  # zipfile, tarfile and the decompressors raise nearly anything on damaged input
        raise StageError(f"{archive} is a damaged {kind} archive ({error}): fetch it again.") from None
    if not files:
        raise StageError(f"{archive} holds no files.")
    return _inner(folder)


def is_archive(path: Path) -> bool:
    """Whether a path is a file that `unpack` takes."""
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


def _checked(archive: Path, member: Member) -> Path:
    """The member's path, if it is an ordinary one that stays in the folder."""
    if member.kind:
        raise StageError(f"{archive} is refused: {member.name} is {member.kind}.")
    for flavour in (PurePosixPath, PureWindowsPath):
        path = flavour(member.name)
        if path.is_absolute() or path.drive or ".." in path.parts or "\0" in member.name:
            raise StageError(f"{archive} is refused: {member.name!r} would lie outside the folder.")
    return Path(*PurePosixPath(member.name).parts)


def _members(archive: Path) -> tuple[str, Iterator[Member]]:
    if not archive.is_file():
        raise StageError(f"there is no archive {archive}: check download.path.")
    if zipfile.is_zipfile(archive):
        return "zip", _zip_members(archive)
    try:
        with tarfile.open(archive):
            return "tar", _tar_members(archive)
    except (tarfile.TarError, OSError, EOFError):
        raise StageError(f"{archive} is no zip or tar archive, or a damaged one.") from None


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
    # As a stream: each member is looked at before anything behind it is decompressed.
    with tarfile.open(archive, "r|*") as opened:
        for info in opened:
            link = "a link" if info.issym() or info.islnk() else None
            kind = link or (None if info.isfile() or info.isdir() else "a device or a pipe")
            data = None if kind or info.isdir() else opened.extractfile(info)
            yield Member(info.name, kind, info.isdir(), info.size, data)


def _inner(folder: Path) -> Path:
    """Archives often hold one folder that holds the rest."""
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    return _inner(entries[0]) if len(entries) == 1 and entries[0].is_dir() else folder
