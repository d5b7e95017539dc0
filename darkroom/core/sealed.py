"""Arrays in a cache, in files whose names hold the SHA-256 of their content, so that a damaged one is recognised.

`<stem>.<sha256>.npz`
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from darkroom.core.hashing import sha256
from darkroom.core.partial_files import partial_file


def write(folder: Path, stem: str, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write arrays to a new file atomically, and return its path.

    If the machine stops, no file under its final name is incomplete.
    """
    with partial_file(folder / stem) as partial:
        with partial.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
            stream.flush()
            os.fsync(stream.fileno())
        target = folder / f"{stem}.{sha256(partial)}.npz"
        return partial.replace(target)


def is_intact(path: Path) -> bool:
    """Whether a file has the content that its name promises."""
    try:
        return path.is_file() and path.name.split(".")[-2:] == [sha256(path), "npz"]
    except FileNotFoundError:  # another process may have discarded it
        return False


def stem(path: Path) -> str:
    """What the name begins with."""
    return path.name.partition(".")[0]
