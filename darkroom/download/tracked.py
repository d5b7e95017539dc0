"""What a stage reads must be what DVC hashes: anything else would change without being noticed, or stop DVC."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from darkroom.core.errors import UserError

IGNORED_ANYWAY = {"__pycache__"}  # in the project's own .dvcignore, and clutter


def check_tracked(path: Path) -> None:
    """Check that DVC hashes all files below a path; a path that does not exist is left to others.

    Raises:
        UserError: names a link to a folder, behind which DVC does not look, or a file that `.dvcignore` leaves out.
    """
    if not path.is_dir():
        return
    ignored = _ignored_by_dvc(path)
    for entry in _entries(path):
        file = Path(entry.path)
        if entry.is_symlink() and os.path.isdir(file):  # noqa: PTH112 - False for a link to itself
            target = os.path.realpath(file)
            raise UserError(
                f"{file} is a link to a folder, {target}: DVC does not look behind such links, so it would not notice "
                "when pictures change. Set download.path to the folder that has the pictures, or put hard links there: "
                f"rm {file}; cp -rl {target} {file}"
            )
        if ignored and ignored(file):
            raise UserError(
                f"{file} is left out by a pattern in .dvcignore, so DVC would not notice when it changes: remove the "
                "pattern, or the file."
            )


def check_hashable(path: Path) -> None:
    """Check that DVC can hash what is below a path: it would stop, often without the name of the file.

    Raises:
        UserError: names a file whose name is not UTF-8, a link to nothing, a pipe, socket or device, or what may not
            be read.
    """
    if not path.is_dir():
        return
    for entry in _entries(path):
        file = Path(entry.path)
        name = os.fsencode(file).decode("utf-8", "backslashreplace")
        if name.encode("utf-8") != os.fsencode(file):
            raise UserError(
                f"the name of {name} is not UTF-8, and DVC cannot handle it: rename it, for example with `convmv -r "
                f"--notest -f latin1 -t utf8 {path}` (Debian: apt install convmv)."
            )
        if not file.exists() and entry.is_symlink():
            raise UserError(f"{file} is a link to nothing, which stops DVC: remove it.")
        if not file.is_file() and not file.is_dir():
            raise UserError(f"{file} is a pipe, socket or device, which stops DVC: remove it.")
        if not os.access(file, os.R_OK):
            raise UserError(f"{file} may not be read, which stops DVC: chmod -R u+rX {path}, as its owner.")


def _entries(folder: Path | str) -> Iterator["os.DirEntry[str]"]:
    """Everything below a folder, hidden or not; links to folders are not followed."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(entry.path)


def _ignored_by_dvc(folder: Path) -> Callable[[Path], bool] | None:
    """DVC's own test for files in a folder of the project; None if no `.dvcignore` has a pattern, as by default."""
    root, folder = Path.cwd(), Path(os.path.abspath(folder))  # noqa: PTH100 - DVC does not resolve links either
    if not folder.is_relative_to(root):
        return None
    above = [root.joinpath(*folder.relative_to(root).parts[:depth]) for depth in range(len(folder.parts))]
    files = [file for parent in dict.fromkeys(above) if (file := parent / ".dvcignore").is_file()]
    lines = [line.strip() for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    if not {line for line in lines if line and not line.startswith("#")} - IGNORED_ANYWAY:
        return None
    from dvc.fs import LocalFileSystem
    from dvc.ignore import DvcIgnoreFilter

    dvcignore = DvcIgnoreFilter(LocalFileSystem(), str(root))
    return lambda file: bool(
        dvcignore.is_ignored_dir(str(root / file)) if file.is_dir() else dvcignore.is_ignored_file(str(root / file))
    )
