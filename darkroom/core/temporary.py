"""Temporary files of a process that may be killed: TensorFlow, MLflow and sweeps make some that nobody would delete."""

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "darkroom-process-"
LOCK = ".lock"  # held as long as the process lives


def use_own_folder() -> None:
    """Let Python's temporary files lie in a folder of this process: deleted at its end, or by the next if it is killed.

    Where there can be none, everything stays as it is: most work needs no temporary file.
    """
    with contextlib.suppress(OSError):
        base = Path(tempfile.gettempdir())
        for folder in base.glob(f"{PREFIX}*"):
            _remove_abandoned(folder)
        new = Path(tempfile.mkdtemp(prefix=".darkroom-", dir=base))
        _lock(new)
        folder = new.rename(base / f"{PREFIX}{new.name.rpartition('-')[2]}")  # from here on others look at it
        tempfile.tempdir = str(folder)
        atexit.register(_remove, folder, os.getpid())


def _remove(folder: Path, owner: int) -> None:
    """Delete the folder of a process, unless this is a fork of it, which runs the same at its exit."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


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
