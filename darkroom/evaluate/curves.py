"""ROC and precision-recall curves, each class against the rest.

`labels` are class numbers (pictures,), `probabilities` are (pictures, classes).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn import metrics

MOST_CLASSES = 20  # with more, curves of single classes could not be told from each other
POINTS = 100
MEAN = "mean of the classes"


class Curve(NamedTuple):
    """A curve of one class, or the mean of all."""

    name: str
    x: np.ndarray  # rising
    y: np.ndarray
    area: float  # for precision and recall: the average precision


def roc(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> list[Curve]:
    """False positive rate to true positive rate, of every class that has pictures here, then their mean.

    Empty where all pictures are of one class: there is no rest.
    """
    curves = []
    for number in _contrasted(labels):
        mine, scores = labels == number, probabilities[:, number]
        x, y, _ = metrics.roc_curve(mine, scores)
        curves.append(Curve(classes[number], x, y, float(metrics.roc_auc_score(mine, scores))))
    return [*curves, *_mean(curves, lambda grid, curve: np.interp(grid, curve.x, curve.y), first=0)]


def precision_recall(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> list[Curve]:
    """Recall to precision, of every class that has pictures here, then their mean; empty like `roc`."""
    curves = []
    for number in _contrasted(labels):
        mine, scores = labels == number, probabilities[:, number]
        y, x, _ = metrics.precision_recall_curve(mine, scores, drop_intermediate=True)
        area = float(metrics.average_precision_score(mine, scores))
        curves.append(Curve(classes[number], x[::-1], y[::-1], area))
    return [*curves, *_mean(curves, lambda grid, curve: curve.y[np.searchsorted(curve.x, grid)], first=1)]


def shown(curves: Sequence[Curve]) -> list[Curve]:
    """Those that a picture has room for: all of up to `MOST_CLASSES` classes, else the five worst; and the mean."""
    *single, mean = curves
    return [*(single if len(single) <= MOST_CLASSES else sorted(single, key=lambda curve: curve.area)[:5]), mean]


def table(curves: Sequence[Curve]) -> list[tuple[str, str, str]]:
    """Rows of name, x and y, up to `POINTS` a curve: up to `MOST_CLASSES` classes and the mean, or the mean alone."""
    rows = []
    for curve in curves if len(curves) <= MOST_CLASSES + 1 else curves[-1:]:
        # Points spread by the length of the curve keep its corners.
        way = np.concatenate([[0], np.cumsum(np.abs(np.diff(curve.x)) + np.abs(np.diff(curve.y)))])
        kept = np.unique(np.searchsorted(way, np.linspace(0, way[-1], POINTS)))
        rows += [(curve.name, f"{curve.x[place]:.6f}", f"{curve.y[place]:.6f}") for place in kept]
    return rows


def _contrasted(labels: np.ndarray) -> list[int]:
    present = np.unique(labels)
    return [int(number) for number in present] if len(present) > 1 else []


def _mean(curves: Sequence[Curve], height: Callable[[np.ndarray, Curve], np.ndarray], first: float) -> list[Curve]:
    """The mean of curves at equal x; a curve may rise or fall at x = 0, so it begins at (0, `first`)."""
    if not curves:
        return []
    grid = np.linspace(0, 1, 201)
    y = np.mean([height(grid, curve) for curve in curves], axis=0)
    area = float(np.mean([curve.area for curve in curves]))
    return [Curve(MEAN, np.append(0, grid), np.append(first, y), area)]
