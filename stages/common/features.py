"""The features that `extract` wrote, with the picture and the label of each row, read from disk as they are needed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.common.files import read_csv


class Features:
    """One split: row i of `rows(...)` belongs to `paths[i]` and `labels[i]`; several layers stand side by side."""

    def __init__(self, folder: Path, part: str, layers: Sequence[str]) -> None:
        listed = read_csv(folder / f"{part}.csv")
        self.paths = [row["path"] for row in listed]
        self.labels = [row["label"] for row in listed]
        self._arrays = [np.load(folder / f"{part}.{layer}.npy", mmap_mode="r") for layer in layers]

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, which: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Features (pictures, n) of the chosen rows, float32."""
        parts = [np.asarray(array[which], np.float32) for array in self._arrays]
        return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]

    def numbers(self, classes: Sequence[str]) -> np.ndarray:
        """Each row's class as its number in `classes`."""
        number = {name: place for place, name in enumerate(classes)}
        return np.array([number[label] for label in self.labels])
