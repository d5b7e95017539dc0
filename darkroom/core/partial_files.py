"""Files that are being written, under other names; those of killed processes are deleted."""

import contextlib
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def naming(target: Path) -> Iterator[None]:
    """Give an error within the block the name of what is written, for the sentence on it: many libraries do not."""
    try:
        yield
    except Exception as error:
        if getattr(error, "filename", None) is None:
            error.filename = str(target)  # type: ignore[attr-defined]
        raise


@contextlib.contextmanager
def partial_file(near: Path) -> Iterator[Path]:
    """Yield a path beside `near` that the block fills and renames; if it does not, the file is deleted.

    Its name contains the machine and the process id, since several processes may fill a cache at the same time.
    """
    near.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(near.parent)
    partial = near.parent / f".{near.name}.{machine()}.{os.getpid()}.partial"
    try:
        with naming(partial):
            yield partial
    finally:
        partial.unlink(missing_ok=True)


CLOCKS = 2.0  # seconds by which the clocks of files and of processes may differ
ELSEWHERE = 86_400.0  # seconds after which nobody on another machine is still writing a file
_cleared: set[Path] = set()
_clearing = threading.Lock()


def remove_abandoned(folder: Path) -> None:
    """Delete what `partial_file` left in a folder when its process was killed; once for each folder and process."""
    with _clearing:
        if folder.absolute() in _cleared:
            return
        _cleared.add(folder.absolute())
        for path in folder.glob(".*.*.partial"):
            owner, pid = path.name.split(".")[-3:-1]
            if pid.isdecimal() and not _is_writing(owner, int(pid), path):
                remove(path)


def machine() -> str:
    """This machine's name, as a part of a file's name."""
    return re.sub(r"[^\w-]", "_", os.uname().nodename)


def remove(path: Path) -> None:
    """Delete a file, or whatever is in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_writing(owner: str, pid: int, path: Path) -> bool:
    """Whether the process that began a file lives; its number may belong to a younger one by now.

    The folder may be shared with other machines, whose processes cannot be looked at.
    """
    import psutil

    with contextlib.suppress(psutil.Error, OSError, OverflowError):
        if owner != machine():
            return time.time() < path.stat().st_mtime + ELSEWHERE
        return pid != os.getpid() and psutil.Process(pid).create_time() <= path.stat().st_mtime + CLOCKS
    return False
