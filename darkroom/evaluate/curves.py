"""ROC and precision-recall curves, each class against the rest.

`labels` are class numbers (pictures,), `probabilities` are (pictures, classes).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn import metrics

MOST_CLASSES = 20  # more curves could not be told apart
POINTS = 100
MEAN = "mean of the classes"


class Curve(NamedTuple):
    """The curve of a class, or the mean of all."""

    name: str
    x: np.ndarray  # rising
    y: np.ndarray
    area: float  # under the curve; for precision and recall, the average precision


def roc(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> list[Curve]:
    """True positive rate by false positive rate, for every class that has pictures here, and their mean last.

    Empty where all pictures are of one class, since there is no rest.
    """
    curves = []
    for number in _contrasted(labels):
        positive, scores = labels == number, probabilities[:, number]
        x, y, _ = metrics.roc_curve(positive, scores)
        curves.append(Curve(classes[number], x, y, float(metrics.roc_auc_score(positive, scores))))
    return [*curves, *_mean(curves, lambda grid, curve: np.interp(grid, curve.x, curve.y), first=0)]


def precision_recall(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> list[Curve]:
    """Precision by recall, for every class that has pictures here, and their mean last; empty like `roc`."""
    curves = []
    for number in _contrasted(labels):
        positive, scores = labels == number, probabilities[:, number]
        y, x, _ = metrics.precision_recall_curve(positive, scores, drop_intermediate=True)
        area = float(metrics.average_precision_score(positive, scores))
        curves.append(Curve(classes[number], x[::-1], y[::-1], area))
    return [*curves, *_mean(curves, lambda grid, curve: curve.y[np.searchsorted(curve.x, grid)], first=1)]


def drawable(curves: Sequence[Curve]) -> list[Curve]:
    """The curves that a plot has room for: those of up to `MOST_CLASSES` classes, else the five worst; and the mean."""
    *single, mean = curves
    return [*(single if len(single) <= MOST_CLASSES else sorted(single, key=lambda curve: curve.area)[:5]), mean]


def points(curves: Sequence[Curve]) -> list[tuple[str, str, str]]:
    """Rows of name, x and y for a CSV file, about `POINTS` a curve; of more than `MOST_CLASSES` only the mean."""
    rows = []
    for curve in curves if len(curves) <= MOST_CLASSES + 1 else curves[-1:]:
        # Points at equal distances along the curve keep its corners.
        length = np.concatenate([[0], np.cumsum(np.abs(np.diff(curve.x)) + np.abs(np.diff(curve.y)))])
        kept = np.unique(np.searchsorted(length, np.linspace(0, length[-1], POINTS)))
        rows += [(curve.name, f"{curve.x[place]:.6f}", f"{curve.y[place]:.6f}") for place in kept]
    return rows


def _contrasted(labels: np.ndarray) -> list[int]:
    """The classes that have pictures here, unless there is only one."""
    present = np.unique(labels)
    return [int(number) for number in present] if len(present) > 1 else []


def _mean(curves: Sequence[Curve], height: Callable[[np.ndarray, Curve], np.ndarray], first: float) -> list[Curve]:
    """The mean of curves at equal x; since a curve may jump at x = 0, it starts at (0, `first`)."""
    if not curves:
        return []
    grid = np.linspace(0, 1, 201)
    y = np.mean([height(grid, curve) for curve in curves], axis=0)
    area = float(np.mean([curve.area for curve in curves]))
    return [Curve(MEAN, np.append(0, grid), np.append(first, y), area)]
