"""Temporary files of a process that may be killed: TensorFlow, MLflow and sweeps make some that nobody would delete."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "darkroom-process-"
LOCK = ".lock"  # held as long as the process lives


@contextlib.contextmanager
def own_folder() -> Iterator[None]:
    """Let Python's temporary files lie in a folder of this process, deleted after the block.

    What a killed process left is deleted by the next. Where there can be no such folder, everything stays as it is:
    most work needs no temporary file.
    """
    previous, folder = tempfile.tempdir, _new_folder()
    tempfile.tempdir = str(folder) if folder else previous
    try:
        yield
    finally:
        tempfile.tempdir = previous
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _new_folder() -> Path | None:
    with contextlib.suppress(OSError):
        base = Path(tempfile.gettempdir())
        for folder in base.glob(f"{PREFIX}*"):
            _remove_abandoned(folder)
        new = Path(tempfile.mkdtemp(prefix=".darkroom-", dir=base))
        _lock(new)
        return new.rename(base / f"{PREFIX}{new.name.rpartition('-')[2]}")  # from here on others look at it
    return None


def _lock(folder: Path) -> None:
    """Lock a folder until the end of this process.

    Raises:
        OSError: another process has locked it, or it is not ours.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise


def _remove_abandoned(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if folder.lstat().st_uid == os.getuid():
            _lock(folder)
            shutil.rmtree(folder)
