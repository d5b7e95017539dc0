"""What work needs, checked before it starts: a sentence at once, and no killed process or full disk later."""

import os
from pathlib import Path

from darkroom.core.errors import UserError, free_space, lasting, size


def require_memory(needed: float, what: str, remedy: str) -> None:
    """Stop with a sentence before the system kills the process without one.

    Args:
        needed: bytes.
        what: needs them, such as "train.head.hidden [9000]".
        remedy: what to do instead.

    Raises:
        UserError: less memory is free.
    """
    import psutil

    if needed > (free := psutil.virtual_memory().available):
        raise UserError(f"{what} would take {size(needed)} of memory, but {size(free)} are free: {remedy}.")


def require_space(folder: Path, needed: float, what: str, remedy: str) -> None:
    """Stop with a sentence before the disk is full.

    Args:
        folder: in which it is to be written; it need not exist yet.
        needed: bytes.
        what: needs them, such as "augment.target 9000".
        remedy: what to do instead.

    Raises:
        UserError: less space is free.
    """
    if needed > (free := free_space(folder)):
        raise UserError(
            f"{what} would take {size(needed)} on the disk that holds {lasting(folder)}, but {size(free)} are free: "
            f"{remedy}."
        )


def allocate(path: Path) -> None:
    """Reserve the disk space of a file that is to be written through memory, where a full disk would kill the process.

    Raises:
        OSError: there is too little.
    """
    with path.open("r+b") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
