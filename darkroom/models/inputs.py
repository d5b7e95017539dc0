"""What a model is trained and measured on: rows of one split, each with its picture and its label.

`Features` are those that `extract` wrote, `Pictures` are the pixels themselves; both give a batch of rows at a time.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import psutil

from darkroom.core.files import read_csv
from darkroom.core.hashing import sha256
from darkroom.core.parallel import cores
from darkroom.core.terminal import progress
from darkroom.images.decode import decode
from darkroom.images.folders import Picture

SHARE_OF_MEMORY = 0.4  # of what is free, for the pixels of one split
CHUNK = 64  # pictures that a thread decodes at a time


class Inputs(ABC):
    """Row i of `rows(...)` belongs to `paths[i]` and `labels[i]`."""

    def __init__(self, paths: Sequence[str], labels: Sequence[str]) -> None:
        self.paths, self.labels = list(paths), list(labels)

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def rows(self, which: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The chosen rows, float32: features (rows, n) or pixels (rows, height, width, 3)."""

    def numbers(self, classes: Sequence[str]) -> np.ndarray:
        """Each row's class as its number in `classes`."""
        number = {name: place for place, name in enumerate(classes)}
        return np.array([number[label] for label in self.labels])


class Features(Inputs):
    """The features of a split, read from disk as they are needed; several layers stand side by side."""

    def __init__(self, folder: Path, part: str, layers: Sequence[str]) -> None:
        listed = read_csv(folder / f"{part}.csv")
        super().__init__([row["path"] for row in listed], [row["label"] for row in listed])
        self._arrays = [np.load(folder / f"{part}.{layer}.npy", mmap_mode="r") for layer in layers]

    def rows(self, which: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Features (rows, n)."""
        parts = [np.asarray(array[which], np.float32) for array in self._arrays]
        return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


class Held(Inputs):
    """Features in memory, for all rows of `like` or the chosen ones."""

    def __init__(self, features: np.ndarray, like: Inputs, which: np.ndarray | slice = slice(None)) -> None:
        super().__init__(np.array(like.paths)[which].tolist(), np.array(like.labels)[which].tolist())
        self._features = features

    def rows(self, which: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Features (rows, n)."""
        return self._features[which]


class Pictures(Inputs):
    """Pictures, decoded and resized whenever they are asked for, or once where memory has room."""

    def __init__(self, pictures: Sequence[Picture], size: tuple[int, int]) -> None:
        super().__init__([str(picture.path) for picture in pictures], [picture.label for picture in pictures])
        self.size = size
        self._held: np.ndarray | None = None

    @cached_property
    def digests(self) -> list[str]:
        """SHA-256 of each picture file."""
        return [sha256(Path(path)) for path in self.paths]

    def rows(self, which: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Pixels (rows, height, width, 3), 0 to 255."""
        if self._held is not None:
            return self._held[which]
        from darkroom.backbones.keras_apps import Resize

        resize = Resize(self.size)
        decoded = (decode(Path(path)) for path in np.array(self.paths)[which])
        return np.stack(
            [
                # An interpolation onto the same grid changes nothing.
                pixels.astype(np.float32) if pixels.shape[:2] == self.size else np.asarray(resize(pixels[None])[0])
                for pixels in decoded
            ]
        )

    def hold(self) -> "Pictures":
        """Keep all pixels in memory where they fit into a share of what is free; whether they do changes no value."""
        shape = (len(self), *self.size, 3)
        if 4 * math.prod(shape) > SHARE_OF_MEMORY * psutil.virtual_memory().available:
            return self
        held = np.empty(shape, np.float32)
        slices = [slice(start, start + CHUNK) for start in range(0, len(self), CHUNK)]
        with ThreadPoolExecutor(cores()) as pool:
            done = progress(pool.map(self.rows, slices), len(self), "decoding", each=CHUNK)
            for chosen, rows in zip(slices, done, strict=True):
                held[chosen] = rows
        self._held = held
        return self
