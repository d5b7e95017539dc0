"""The data of a split for training and evaluation: rows, each with its picture and its label.

`Features` are the arrays that `extract` wrote, `Pictures` are pixels; both are read in batches.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import psutil

from darkroom.core import outputs
from darkroom.core.errors import free_space
from darkroom.core.files import read_csv
from darkroom.core.hashing import sha256
from darkroom.core.parallel import cores
from darkroom.core.paths import SPLIT, cache
from darkroom.core.terminal import progress
from darkroom.images.decode import decode
from darkroom.images.folders import Picture, listed
from darkroom.models.row_file import RowFile

SHARE_OF_MEMORY = 0.4  # of the free memory, and of the free disk, for the pixels of one split
CHUNK = 64  # pictures that a thread decodes at a time
_FLOAT16 = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)  # all of its values


class Inputs(ABC):
    """Row i of `rows()` belongs to `paths[i]` and `labels[i]`."""

    def __init__(self, paths: Sequence[str], labels: Sequence[str]) -> None:
        self.paths, self.labels = list(paths), list(labels)

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def rows(self, selection: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The selected rows, float32: features (rows, n) or pixels (rows, height, width, 3)."""

    def stored(self, selection: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The selected rows as they are stored: float32, or the same values in float16."""
        return self.rows(selection)

    def numbers(self, classes: Sequence[str]) -> np.ndarray:
        """The class number of each row: the position of its label in `classes`."""
        number = {name: position for position, name in enumerate(classes)}
        return np.array([number[label] for label in self.labels])


class Features(Inputs):
    """The features of a split, read from disk on demand; those of several layers are concatenated."""

    def __init__(self, folder: Path, part: str, layers: Sequence[str]) -> None:
        index = folder / f"{part}.csv"
        rows = read_csv(index, ("sha256", "path", "label"))
        super().__init__([row["path"] for row in rows], [row["label"] for row in rows])
        if (SPLIT / part).is_dir():  # a model may be pulled without its pictures
            pictures = [(str(picture.path), picture.label) for picture in listed(part)]
            if pictures != list(zip(self.paths, self.labels, strict=True)):
                raise outputs.damaged(index, f"it does not list the {len(pictures):,} pictures of {part}")
        self._arrays = [_array(folder / f"{part}.{layer}.npy", len(rows)) for layer in layers]

    @property
    def widths(self) -> list[int]:
        """The number of features of each layer."""
        return [array.shape[1] for array in self._arrays]

    def rows(self, selection: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Features (rows, n)."""
        return float32(self.stored(selection))

    def stored(self, selection: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Features (rows, n), of the type in the files."""
        parts = [np.asarray(array[selection]) for array in self._arrays]
        return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def float32(array: np.ndarray) -> np.ndarray:
    """The same values in float32; of float16 by a table, five times as fast as numpy's own conversion."""
    if array.dtype != np.float16:
        return np.asarray(array, np.float32)
    return np.take(_FLOAT16, np.ascontiguousarray(array).view(np.uint16), mode="clip")


def _array(path: Path, rows: int) -> np.ndarray:
    """The memory-mapped array of a layer's features (rows, n)."""
    if not path.exists():
        raise outputs.missing(path)
    if not path.is_file():
        raise outputs.damaged(path, "it is not a file")
    try:
        array = np.load(path, mmap_mode="r")
        if array.ndim != 2 or array.dtype.kind != "f":
            raise ValueError
    except (ValueError, EOFError, AttributeError):  # of an .npz file, there is no `ndim`
        raise outputs.damaged(path, "it is not an array of features, or cut off") from None
    if len(array) != rows:
        raise outputs.damaged(path, f"it has {len(array):,} rows for {rows:,} pictures")
    return array


class Held(Inputs):
    """Features in memory, for all rows of `like` or for a selection of them."""

    def __init__(self, features: np.ndarray, like: Inputs, selection: np.ndarray | slice = slice(None)) -> None:
        super().__init__(np.array(like.paths)[selection].tolist(), np.array(like.labels)[selection].tolist())
        self._features = features

    def rows(self, selection: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Features (rows, n)."""
        return self._features[selection]


class Pictures(Inputs):
    """Pixels of pictures, decoded and resized on demand, or once if there is room (see `hold`)."""

    def __init__(self, pictures: Sequence[Picture], size: tuple[int, int]) -> None:
        super().__init__([str(picture.path) for picture in pictures], [picture.label for picture in pictures])
        self.size = size
        self._held: RowFile | None = None

    @cached_property
    def digests(self) -> list[str]:
        """SHA-256 of each picture file."""
        return [sha256(Path(path)) for path in self.paths]

    def rows(self, selection: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Pixels (rows, height, width, 3), 0 to 255."""
        if self._held is not None:
            return self._held[selection]
        from darkroom.backbones.keras_apps import Resize

        resize = Resize(self.size)
        numbers = np.arange(len(self))[selection]  # an array of all paths would take longer than a batch of pictures
        decoded = (decode(Path(self.paths[number])) for number in numbers)
        return np.stack(
            [
                # Interpolation onto the same grid would change nothing.
                pixels.astype(np.float32) if pixels.shape[:2] == self.size else np.asarray(resize(pixels[None])[0])
                for pixels in decoded
            ]
        )

    def hold(self) -> "Pictures":
        """Decode all pictures now if they fit into a share of the free memory, and on the disk; no value depends on it.

        The pixels lie in a file that the system keeps in memory, so that the process needs no more for more pictures.
        """
        shape = (*self.size, 3)
        needed = 4 * len(self) * math.prod(shape)
        if needed > SHARE_OF_MEMORY * min(psutil.virtual_memory().available, free_space(cache())):
            return self
        held = RowFile(cache(), len(self), shape)
        slices = [slice(start, start + CHUNK) for start in range(0, len(self), CHUNK)]
        with ThreadPoolExecutor(cores()) as pool:
            chunks = progress(pool.map(self.rows, slices), len(self), "decoding", step=CHUNK)
            for selection, rows in zip(slices, chunks, strict=True):
                held[selection] = rows
        self._held = held
        return self
