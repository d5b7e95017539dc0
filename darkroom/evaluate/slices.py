"""Slices of the test pictures, by size, light, sharpness, folder or group, in which the model is worse than elsewhere.

Each slice is compared with all other pictures by Fisher's exact test (The logic of inductive inference, 1935). Among
many slices some look bad by chance: those that are reported keep the false discovery rate below 5 % (Benjamini and
Hochberg, Controlling the false discovery rate, 1995).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from darkroom.core.files import read_csv
from darkroom.core.paths import GROUPS, SPLIT
from darkroom.evaluate.predictions import Predictions
from darkroom.evaluate.statistics import SIGNIFICANT, wilson

MEASURES = ("width", "height", "brightness", "sharpness")
PARTS = 4  # of the range of a measure, with equal numbers of pictures
LEAST = 10  # pictures of a slice


class Slice(NamedTuple):
    """Test pictures with something in common."""

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


def find(test: Predictions) -> list[Slice]:
    """The slices in which the model is worse than chance explains; first those that cost most mistakes."""
    from scipy.stats import false_discovery_control, fisher_exact

    right = test.predicted == test.labels
    if right.all() or not right.any():
        return []
    found, values = [], []
    for kind, name, member in _slices(_rows(test.paths)):
        count, inside = int(member.sum()), int(right[member].sum())
        others, outside = len(right) - count, int(right.sum()) - inside
        if LEAST <= count < len(right):
            table = [[inside, count - inside], [outside, others - outside]]
            values.append(float(fisher_exact(table, alternative="less").pvalue))
            found.append(Slice(kind, name, count, inside, *wilson(inside, count), outside / others))
    adjusted = false_discovery_control(values) if values else ()
    worse = [each for each, value in zip(found, adjusted, strict=True) if value < SIGNIFICANT]
    return sorted(worse, key=lambda each: -each.missing)


def _rows(paths: Sequence[str]) -> list[Mapping[str, str]]:
    """The row of each test picture in the table of the set; of two with the same name, the one of an official part."""
    rows: dict[str, Mapping[str, str]] = {}
    for row in read_csv(GROUPS, ("picture", "source_group", *MEASURES)):
        part, _, name = row["picture"].partition("/")
        path = f"{SPLIT.as_posix()}/test/{name}"
        if part == "test" or path not in rows:
            rows[path] = row
    return [rows[path] for path in paths if path in rows] if all(path in rows for path in paths) else []


def _slices(rows: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Each slice: its kind, its name, and which pictures it has, boolean (pictures,)."""
    if not rows:
        return
    width, height, light, sharpness = (np.array([float(row[name]) for row in rows]) for name in MEASURES)
    measures = {"size": np.sqrt(width * height), "width to height": width / height}
    for kind, values in (measures | {"brightness": light, "sharpness": sharpness}).items():
        edges = np.unique(np.quantile(values, np.linspace(0, 1, PARTS + 1), method="lower"))
        for low, high in itertools.pairwise(edges):
            member = (values >= low) & ((values <= high) if high == edges[-1] else (values < high))
            yield kind, f"{low:.3g} to {high:.3g}", member
    folders = np.array([row["picture"].rpartition("/")[2].rpartition("__")[0] for row in rows])
    groups = np.array([row["source_group"] for row in rows])
    for kind, names in (("folder", folders), ("group", groups)):
        yield from ((kind, str(name), names == name) for name in np.unique(names[names != ""]))
