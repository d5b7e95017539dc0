"""Unpacking of an archive, and of the archives in it."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from darkroom.core.errors import UserError, environment_sentence
from darkroom.core.folders import walk
from darkroom.download.archives import refusals, seven_zip, tars, zips
from darkroom.download.archives.kinds import is_archive_among_files, kind, stem
from darkroom.download.archives.members import Budget, Limits, Unpacking
from darkroom.download.tree import looks_like_picture
from darkroom.images.folders import is_clutter
from darkroom.images.formats import SUFFIXES

UNPACK: dict[str, Callable[[Path, Unpacking], None]] = {"zip": zips.unpack, "tar": tars.unpack, "7z": seven_zip.unpack}
MAX_NESTING = 3  # archives in archives in archives in the one that is named


def unpack(archive: Path, folder: Path, limits: Limits, name: str | None = None) -> Path:
    """Unpack into `folder`, which is empty, and return the outermost folder in it with more than one entry or a file.

    Where there are archives in it and no pictures, each is replaced by a folder of its name.

    Args:
        archive: a zip, 7z or tar archive.
        folder: an empty folder.
        limits: the most that it and all archives in it may unpack to.
        name: what messages call the archive, if not by its path.

    Raises:
        UserError: the file is not an archive, is encrypted, split, of another kind or damaged, contains an absolute
            path, `..`, a link, a device, the same name twice or more than the limits allow, or the disk is full.
    """
    _unpack(archive, folder, Budget(limits), name or str(archive), MAX_NESTING)
    return _without_outer(folder)


def unpack_all(archives: Sequence[Path], around: Path, folder: Path, limits: Limits) -> Path:
    """Unpack archives that lie in a folder of the user, each into a folder of its name; otherwise as `unpack`.

    Args:
        archives: the files.
        around: the folder that they lie in, directly or not.
        folder: an empty folder.
        limits: for all of them together.

    Raises:
        UserError: as `unpack`.
    """
    budget = Budget(limits)
    for archive in archives:
        parent = folder / archive.parent.relative_to(around)
        parent.mkdir(parents=True, exist_ok=True)
        _to_folder(archive, parent, budget, str(archive), MAX_NESTING)
    return _without_outer(folder)


def _unpack(archive: Path, folder: Path, budget: Budget, name: str, nesting: int) -> None:
    """Unpack an archive and those in it, at most `nesting` deep."""
    if not archive.is_file():
        raise UserError(f"there is no archive {name}: check download.path.")
    into = Unpacking(name, folder, budget)
    with _explained(archive, name, folder):
        found = kind(archive)
        if found is None:
            raise refusals.error(archive, name)
    with _explained(archive, name, folder, found):
        UNPACK[found](archive, into)
    if not into.files:
        raise UserError(f"{name} contains no files.")
    for inner in inner_archives(folder):
        inner_name = f"{name}/{inner.relative_to(folder).as_posix()}"
        if not nesting:
            raise UserError(
                f"{inner_name} lies in more than {MAX_NESTING} archives: unpack them yourself, {refusals.AND_SET} the "
                "folder."
            )
        _to_folder(inner, inner.parent, budget, inner_name, nesting - 1, replace=True)


def _to_folder(archive: Path, parent: Path, budget: Budget, name: str, nesting: int, replace: bool = False) -> None:
    """Unpack an archive into a folder of its name in `parent`."""
    partial = parent / ".inner.partial"
    partial.mkdir()
    _unpack(archive, partial, budget, name, nesting)
    if replace:
        archive.unlink()
    target = parent / stem(archive.name)
    if target.exists():  # x.zip beside a folder x, or beside x.tar
        target = parent / archive.name
    _without_outer(partial).rename(target)
    shutil.rmtree(partial, ignore_errors=True)


def inner_archives(folder: Path) -> list[Path]:
    """The archives in a folder that holds no pictures; empty if it does."""
    files = []
    for path in visible_files(folder):
        if path.suffix.lower() in SUFFIXES:
            return []
        files.append(path)
    archives = [path for path in files if is_archive_among_files(path)]
    others = set(files) - set(archives) if archives else set()
    return [] if any(map(looks_like_picture, others)) else archives


def visible_files(folder: Path) -> Iterator[Path]:
    """The files in a folder without clutter; one after the other, since there may be many."""
    for around, folders, files in walk(folder):
        folders[:] = sorted(name for name in folders if not is_clutter(name))
        yield from (Path(around, name) for name in sorted(files) if not is_clutter(name))


@contextlib.contextmanager
def _explained(archive: Path, name: str, folder: Path, found: str = "") -> Iterator[None]:
    """Turn errors of the environment and of damaged data into sentences; faults of this program stay as they are."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # zipfile, tarfile, py7zr and the decompressors raise nearly anything on damaged input
        of_archive = getattr(error, "filename", None) in (archive, str(archive))
        if sentence := environment_sentence(error, name if of_archive else str(folder / "x")):
            raise UserError(f"{name} cannot be unpacked: {sentence}") from None
        if not found or _is_fault(error):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise refusals.damaged(name, found, reason) from None


def _is_fault(error: Exception) -> bool:
    """Whether one of Python's own exceptions begins in this program, and not in a library that reads archives."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals["__name__"] if trace else ""
    return type(error).__module__ == "builtins" and module.startswith("darkroom.")


def _without_outer(folder: Path) -> Path:
    """The folder without the outer ones; archives often contain a single folder with everything else."""
    entries = [entry for entry in folder.iterdir() if not is_clutter(entry.name)]
    return _without_outer(entries[0]) if len(entries) == 1 and entries[0].is_dir() else folder
