"""Rows in a temporary file: the system keeps them in memory as long as there is room, and no process holds them."""

import os
import tempfile
from pathlib import Path

import numpy as np


class RowFile:
    """Float32 rows of one shape, read and written in any order by any thread; the file ends with the process.

    It is read, not mapped: mapped pages would count as the process's memory.
    """

    def __init__(self, folder: Path, count: int, shape: tuple[int, ...]) -> None:
        """Reserve the space.

        Raises:
            OSError: there is too little.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (open as long as the object lives)
        self._count, self._shape = count, shape
        self._size = 4 * int(np.prod(shape))  # bytes of a row
        os.posix_fallocate(self._file.fileno(), 0, max(1, count * self._size))

    def __setitem__(self, rows: slice, values: np.ndarray) -> None:
        """Write contiguous rows."""
        os.pwrite(self._file.fileno(), np.ascontiguousarray(values, np.float32).data, rows.start * self._size)

    def __getitem__(self, selection: np.ndarray | slice) -> np.ndarray:
        """Read rows (rows, …)."""
        numbers = np.arange(self._count)[selection]
        result = np.empty((len(numbers), *self._shape), np.float32)
        for row, number in zip(result, numbers.tolist(), strict=True):
            os.preadv(self._file.fileno(), [row], number * self._size)
        return result
