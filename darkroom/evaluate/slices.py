"""Slices of a split, by size, light, sharpness, folder or group, in which the model is worse than elsewhere.

Each slice is compared with all other pictures by Fisher's exact test (The logic of inductive inference, 1935). Among
many slices some look bad by chance: those that are reported keep the false discovery rate below 5 % (Benjamini and
Hochberg, Controlling the false discovery rate, 1995).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from darkroom.core import outputs
from darkroom.core.files import read_csv
from darkroom.core.paths import GROUPS, SPLIT
from darkroom.evaluate.predictions import Predictions
from darkroom.evaluate.statistics import SIGNIFICANT, wilson

MEASURES = ("width", "height", "brightness", "sharpness")
PARTS = 4  # of the range of a measure, with equal numbers of pictures
LEAST = 10  # pictures of a slice


class Slice(NamedTuple):
    """Pictures with something in common."""

    kind: str  # size, brightness, …
    name: str  # of their values
    pictures: int
    right: int
    low: float  # of the interval of their accuracy
    high: float
    elsewhere: float  # the accuracy on all other pictures

    @property
    def accuracy(self) -> float:
        """The share of the pictures that the model classifies correctly."""
        return self.right / self.pictures

    @property
    def missing(self) -> float:
        """How many more would be right, if the model were as good there as elsewhere."""
        return self.pictures * self.elsewhere - self.right


class Slices(NamedTuple):
    """The slices of a split."""

    tested: int  # how many had enough pictures
    worse: list[Slice]  # those in which the model is worse than chance explains; first those that cost most mistakes


def find(predictions: Predictions, part: str) -> Slices:
    """Slice the pictures of a split, and test each slice.

    Raises:
        UserError: the table of the set does not list one of the pictures.
    """
    from scipy.stats import false_discovery_control, fisher_exact

    right = predictions.predicted == predictions.labels
    found, values = [], []
    for kind, name, member in _slices(_rows(predictions.paths, part)):
        count, inside = int(member.sum()), int(right[member].sum())
        others, outside = len(right) - count, int(right.sum()) - inside
        if LEAST <= count < len(right):
            table = [[inside, count - inside], [outside, others - outside]]
            values.append(float(fisher_exact(table, alternative="less").pvalue))
            found.append(Slice(kind, name, count, inside, *wilson(inside, count), outside / others))
    adjusted = false_discovery_control(values) if values else ()
    worse = [each for each, value in zip(found, adjusted, strict=True) if value < SIGNIFICANT]
    return Slices(len(found), sorted(worse, key=lambda each: -each.missing))


def _rows(paths: Sequence[str], part: str) -> list[Mapping[str, str]]:
    """The row of each picture in the table of the set; of two with the same name, the one of an official part."""
    rows: dict[str, Mapping[str, str]] = {}
    for row in read_csv(GROUPS, ("picture", "source_group", "source", *MEASURES)):
        origin, _, name = row["picture"].partition("/")
        path = f"{SPLIT.as_posix()}/{part}/{name}"
        if origin == part or path not in rows:
            rows[path] = row
    if lost := next((path for path in paths if path not in rows), None):
        raise outputs.damaged(GROUPS, f"it does not list {Path(lost).name}")
    return [rows[path] for path in paths]


def _slices(rows: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Each slice: its kind, its name, and which pictures it has, boolean (pictures,)."""
    width, height, light, sharpness = (np.array([float(row[name]) for row in rows]) for name in MEASURES)
    yield from _ranges("size", np.sqrt(width * height), "{:,.0f}")
    yield from _ranges("aspect ratio", width / height, "{:.2f}")
    yield from _ranges("brightness", light, "{:.2f}")
    yield from _ranges("sharpness", sharpness, "{:.0f}")
    names = [(row["source"] or row["picture"]).rpartition("/")[2] for row in rows]
    folders = [name.partition("__")[0] if "__" in name else "" for name in names]
    for kind, values in (("folder", folders), ("group", [row["source_group"] for row in rows])):
        unique, numbers, counts = np.unique(values, return_inverse=True, return_counts=True)
        for number in np.flatnonzero((counts >= LEAST) & (unique != "")):
            yield kind, str(unique[number]), numbers == number


def _ranges(kind: str, values: np.ndarray, form: str) -> Iterator[tuple[str, str, np.ndarray]]:
    """Quarters of the pictures by a measure; a value that a quarter of them or more have is a slice of its own."""
    edges = np.quantile(values, np.linspace(0, 1, PARTS + 1), method="lower")
    unique, counts = np.unique(edges, return_counts=True)
    common = unique[counts > 1]
    yield from ((kind, form.format(value), values == value) for value in common)
    for low, high in itertools.pairwise(unique):
        member = (values >= low) & ((values <= high) if high == unique[-1] else (values < high))
        if (member := member & ~np.isin(values, common)).any():
            yield kind, f"{form.format(low)} to {form.format(high)}", member
