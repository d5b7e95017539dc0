"""Walking through folders, none of which may be skipped."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path


def walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Do what `os.walk` does.

    Raises:
        OSError: a folder cannot be read; `os.walk` and `Path.rglob` would leave its files out without a word.
    """

    def fail(error: OSError) -> None:
        raise error

    return os.walk(folder, onerror=fail)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder, as `walk` finds them."""
    return (Path(place, name) for place, _, names in walk(folder) for name in names)


def check_removable(folder: Path) -> None:
    """Check that a folder, if it exists, can be deleted with all that is in it.

    Raises:
        PermissionError: names the folder in it that may not be changed.
    """
    for place, _, _ in walk(folder) if folder.is_dir() else ():
        if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), place)
