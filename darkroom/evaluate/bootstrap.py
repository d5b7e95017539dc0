"""95 % intervals of metrics by the percentile bootstrap: test pictures are resampled with replacement, many times.

Efron, Bootstrap methods: another look at the jackknife, 1979. A resample is given by how often it contains each
picture, so metrics of resamples are weighted metrics, and many resamples are computed at once. Pictures drawn more than
once bias some metrics (average precision and calibration error upwards); the interval is shifted back by the estimated
bias, the mean of the resamples minus the metric. The calibration error itself is biased upwards, by at most what chance
makes of a perfectly calibrated model; its interval is extended downwards by that.
"""

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from darkroom.core.metric_table import BINS, BY_KEY
from darkroom.evaluate import metrics

LEAST = 100  # resamples
MOST = 2**30  # resamples x pictures x classes: more would take minutes
CHUNK = 2**21  # resamples x pictures in memory at a time
ROUNDING = 1e-9  # differences below this are rounding errors


def affordable(requested: int, pictures: int, classes: int) -> int:
    """The requested number of resamples, reduced where pictures and classes are very many, but at least `LEAST`."""
    return min(requested, max(LEAST, MOST // (pictures * classes)))


def intervals(
    labels: np.ndarray, probabilities: np.ndarray, resamples: int, generator: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """95 % intervals, by key, of the metrics that `core.metric_table` leaves to the bootstrap.

    A metric has none where all resamples agree, or so many that the quantiles do not see the others: on a split without
    a mistake, resamples tell nothing about other pictures.

    Args:
        labels: class numbers (pictures,).
        probabilities: (pictures, classes).
        resamples: how many.
        generator: draws them.
    """
    chunks = [
        weighted_metrics(counts, labels, probabilities) for counts in resample_counts(len(labels), resamples, generator)
    ]
    result = {}
    for key, (value,) in weighted_metrics(np.ones((1, len(labels)), np.int32), labels, probabilities).items():
        values = np.concatenate([chunk[key] for chunk in chunks])
        if np.isnan(value) or np.nanmax(values) - np.nanmin(values) <= ROUNDING:
            continue
        low, high = np.nanquantile(values, (0.025, 0.975)) - (np.nanmean(values) - value)
        low, high = min(low, value), max(high, value)  # a rare class may affect the mean and not the quantiles
        if key == "ece":
            low -= metrics.chance_calibration_error(probabilities)
        low, high = max(float(low), 0.0), min(float(high), BY_KEY[key].highest)
        if high - low > ROUNDING:
            result[key] = (low, high)
    return result


def resample_counts(pictures: int, resamples: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield how often each picture occurs in each resample: int32 (some resamples, pictures) at a time."""
    rows = max(1, CHUNK // pictures)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        places = generator.integers(pictures, size=(size, pictures)) + pictures * np.arange(size)[:, None]
        yield np.bincount(places.ravel(), minlength=size * pictures).reshape(size, pictures).astype(np.int32)


def weighted_metrics(counts: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of resamples by key, each (resamples,); NaN where a resample has too few classes for one.

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
    predictions = _sums(weights, predicted, classes)
    precision, f1 = hits / np.maximum(predictions, 1), 2 * hits / np.maximum(predictions + support, 1)
    log_loss, brier = metrics.losses(labels, probabilities) @ weights / total
    gaps = _sums(weights, metrics.confidence_bins(probabilities), BINS, right - confidence)
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

    Equal scores share a threshold, as in scikit-learn. NaN where a resample lacks positives or negatives.

    Args:
        counts: int32 (resamples, pictures).
        positive: whether each picture is of the class (pictures,); one at least is.
        scores: the model's score for the class (pictures,).
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
    # Negatives that outrank the positives of a threshold; ties count half.
    outranking = (before - (hits_until - hits) + until - hits_until) / 2
    with np.errstate(invalid="ignore"):
        area = (hits * (negatives[:, None] - outranking)).sum(axis=1) / (positives * negatives)
        precision = (hits * hits_until / np.maximum(until, 1)).sum(axis=1) / positives
    return area, np.where(negatives > 0, precision, np.nan)


def _sums(weights: np.ndarray, groups: np.ndarray, count: int, values: np.ndarray | float = 1.0) -> np.ndarray:
    """Weighted sums of values by group, (count, resamples), from weights (pictures, resamples)."""
    values = np.broadcast_to(values, groups.shape).astype(np.float64)
    places = (groups, np.arange(len(groups)))
    return sparse.csr_array((values, places), shape=(count, len(groups))) @ weights


def _mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Means over the classes of (classes, resamples) where the mask is set; NaN where it is nowhere."""
    count = mask.sum(axis=0)
    return np.where(count > 0, np.where(mask, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
