"""What work needs, checked before it starts: a sentence at once, and no killed process or full disk later."""

import itertools
from pathlib import Path

from darkroom.core.errors import UserError, free_space, size


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
        raise UserError(f"{what} needs about {size(needed)} of memory, but {size(free)} are free: {remedy}.")


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
        # What is named `.partial` is ours, and gone when the user looks.
        folder = Path(*itertools.takewhile(lambda part: not part.endswith(".partial"), folder.parts))
        raise UserError(
            f"{what} needs about {size(needed)} on the disk that holds {folder}, but {size(free)} are free: {remedy}."
        )
