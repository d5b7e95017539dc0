"""Intervals of figures by the percentile bootstrap: the test pictures are drawn anew, with replacement, many times.

Efron, Bootstrap methods: another look at the jackknife, 1979. A resample is how often each picture was drawn, so that
all figures are weighted ones, and many resamples are worked out at once. Pictures that come more than once move some
figures one way (average precision and calibration error up); the interval is moved back by that, which is the mean of
the resamples less the figure. The calibration error itself comes out too large, by up to what chance makes of a
perfectly calibrated model; its interval reaches down by as much.
"""

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from darkroom.evaluate import metrics

LEAST = 100
MOST = 2**30  # resamples x pictures x classes: more would take minutes
CHUNK = 2**21  # resamples x pictures in memory at a time
ROUNDING = 1e-9  # figures that differ by less are the same
HIGHEST = {"log_loss": np.inf, "brier": 2.0}  # the others reach up to 1


def affordable(wanted: int, pictures: int, classes: int) -> int:
    """The wanted number of resamples, or fewer where pictures and classes are very many; never under `LEAST`."""
    return min(wanted, max(LEAST, MOST // (pictures * classes)))


def intervals(
    labels: np.ndarray, probabilities: np.ndarray, resamples: int, generator: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """95 % intervals of the figures that are no plain shares, by their names in `metrics.headline`.

    A figure has none where it is the same for all resamples, or for so many that nothing of the others is seen.

    Args:
        labels: class numbers (pictures,).
        probabilities: (pictures, classes).
        resamples: how many.
        generator: draws them.
    """
    chunks = [figures(counts, labels, probabilities) for counts in drawn(len(labels), resamples, generator)]
    found = {}
    for name, (figure,) in figures(np.ones((1, len(labels)), np.int32), labels, probabilities).items():
        values = np.concatenate([chunk[name] for chunk in chunks])
        if np.isnan(figure) or np.nanmax(values) - np.nanmin(values) <= ROUNDING:
            continue
        low, high = np.nanquantile(values, (0.025, 0.975)) - (np.nanmean(values) - figure)
        low, high = min(low, figure), max(high, figure)  # what a rare class does may be in the mean alone
        if name == "ece":
            low -= metrics.chance_error(probabilities)
        low, high = max(float(low), 0.0), min(float(high), HIGHEST.get(name, 1.0))
        # Where resamples come to the same, say on a set without a mistake, they tell nothing of other pictures.
        if high - low > ROUNDING:
            found[name] = (low, high)
    return found


def drawn(pictures: int, resamples: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each picture is in each resample: int32 (some resamples, pictures) at a time."""
    rows = max(1, CHUNK // pictures)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        places = generator.integers(pictures, size=(size, pictures)) + pictures * np.arange(size)[:, None]
        yield np.bincount(places.ravel(), minlength=size * pictures).reshape(size, pictures).astype(np.int32)


def figures(counts: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of weighted pictures, each (resamples,): means over the classes that a resample has, NaN for none.

    Args:
        counts: how often each picture counts, int32 (resamples, pictures).
        labels: class numbers (pictures,).
        probabilities: (pictures, classes).
    """
    classes, total = probabilities.shape[1], counts.sum(axis=1)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = predicted == labels
    weights = counts.T.astype(np.float64)
    support = _sums(weights, labels, classes)
    hits = _sums(weights, labels, classes, right)
    said = _sums(weights, predicted, classes)
    precision, f1 = hits / np.maximum(said, 1), 2 * hits / np.maximum(said + support, 1)
    log_loss, brier = metrics.losses(labels, probabilities) @ weights / total
    gaps = _sums(weights, metrics.bins(probabilities), metrics.BINS, right - confidence)
    ranked = np.array([ranking(counts, labels == number, probabilities[:, number]) for number in np.unique(labels)])
    return {
        "balanced_accuracy": _mean(hits / np.maximum(support, 1), support > 0),
        "macro_precision": _mean(precision, support > 0),
        "macro_f1": _mean(f1, support > 0),
        "weighted_precision": (support * precision).sum(axis=0) / total,
        "weighted_f1": (support * f1).sum(axis=0) / total,
        "roc_auc": _mean(ranked[:, 0], ~np.isnan(ranked[:, 0])),
        "average_precision": _mean(ranked[:, 1], ~np.isnan(ranked[:, 1])),
        "log_loss": log_loss,
        "brier": brier,
        "ece": np.abs(gaps).sum(axis=0) / total,
    }


def ranking(counts: np.ndarray, positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Area under the ROC curve and average precision of weighted pictures, each (resamples,).

    Equal scores are one threshold, as in scikit-learn. NaN where a resample has only one of the two kinds.

    Args:
        counts: int32 (resamples, pictures).
        positive: which pictures are of the class (pictures,); one at least.
        scores: the higher, the surer the model is that they are (pictures,).
    """
    order = np.argsort(-scores, kind="stable")
    falling = -scores[order]
    own = np.flatnonzero(positive[order])
    thresholds, starts = np.unique(falling[own], return_index=True)
    # Column i: the weight of the first i pictures.
    summed = np.zeros((len(counts), len(scores) + 1), np.int32)
    np.cumsum(np.take(counts, order, axis=1), axis=1, out=summed[:, 1:])
    before = summed[:, np.searchsorted(falling, thresholds, "left")]
    until = summed[:, np.searchsorted(falling, thresholds, "right")]
    hits = np.add.reduceat(np.take(counts, order[own], axis=1), starts, axis=1).astype(np.float64)
    hits_until = hits.cumsum(axis=1)
    positives = hits_until[:, -1]
    negatives = summed[:, -1] - positives
    # Negatives above a threshold are lost; those on it count half.
    lost = (before - (hits_until - hits) + until - hits_until) / 2
    with np.errstate(invalid="ignore"):
        area = (hits * (negatives[:, None] - lost)).sum(axis=1) / (positives * negatives)
        precision = (hits * hits_until / np.maximum(until, 1)).sum(axis=1) / positives
    return area, np.where(negatives > 0, precision, np.nan)


def _sums(weights: np.ndarray, groups: np.ndarray, count: int, values: np.ndarray | float = 1.0) -> np.ndarray:
    """(count, resamples): the sum of weighted values in each group, from weights (pictures, resamples)."""
    values = np.broadcast_to(values, groups.shape).astype(np.float64)
    places = (groups, np.arange(len(groups)))
    return sparse.csr_array((values, places), shape=(count, len(groups))) @ weights


def _mean(values: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Mean over the classes of (classes, resamples) that are there; NaN for none."""
    count = which.sum(axis=0)
    return np.where(count > 0, np.where(which, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
