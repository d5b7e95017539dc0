"""The figures of an evaluation: from the labels of the pictures and the probabilities that a model gave them.

Everywhere `labels` are class numbers (pictures,) and `probabilities` are (pictures, classes) in float64, rows adding up
to 1. Means over classes are over those that have pictures here: of the others nothing can be said.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn import metrics

TOP = (3, 5)
SHARES = {
    "accuracy",
    "weighted_recall",
    *(f"top_{k}_accuracy" for k in TOP),
}  # of pictures: their intervals are Wilson's
BINS = 15  # of confidence, as in Guo et al.
Score = tuple[str, float, float, float, int]  # class, precision, recall, F1, support


class Predictions(NamedTuple):
    """What a model says of the pictures of a split."""

    paths: list[str]
    labels: np.ndarray
    plain: np.ndarray  # probabilities without calibration
    probabilities: np.ndarray


class Bin(NamedTuple):
    """The pictures of whose label the model was about equally sure."""

    number: int  # from 0
    confidence: float  # their mean
    accuracy: float
    pictures: int


def headline(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """All headline figures, by the names of `reports/metrics.json`, without intervals.

    `top_3_accuracy` and `top_5_accuracy` are there where there are more classes than that, `roc_auc` and
    `average_precision` where there are pictures of two classes at least.
    """
    predicted, present = probabilities.argmax(axis=1), np.unique(labels)
    tops = {f"top_{k}_accuracy": k for k in TOP if k < probabilities.shape[1]}
    place = places(labels, probabilities)
    figures = {name: float((place < k).mean()) for name, k in ({"accuracy": 1} | tops).items()}
    for kind, recalled in (("macro", "balanced_accuracy"), ("weighted", "weighted_recall")):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            labels, predicted, labels=present, average=kind, zero_division=0
        )
        figures |= {recalled: float(recall), f"{kind}_precision": float(precision), f"{kind}_f1": float(f1)}
    if len(present) > 1:
        ones = [(labels == number, probabilities[:, number]) for number in present]
        figures["roc_auc"] = float(np.mean([metrics.roc_auc_score(*one) for one in ones]))
        figures["average_precision"] = float(np.mean([metrics.average_precision_score(*one) for one in ones]))
    return figures | calibration(labels, probabilities)


def calibration(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Log loss, Brier score and expected calibration error."""
    log_loss, brier = losses(labels, probabilities).mean(axis=1)
    errors = [one.pictures * abs(one.accuracy - one.confidence) for one in reliability(labels, probabilities)]
    return {"log_loss": float(log_loss), "brier": float(brier), "ece": sum(errors) / len(labels)}


def per_class(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> list[Score]:
    """Precision, recall, F1 and number of pictures of each class; 0 where a share would be of nothing."""
    scores = metrics.precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=range(len(classes)), zero_division=0
    )
    return [
        (name, float(precision), float(recall), float(f1), int(support))
        for name, precision, recall, f1, support in zip(classes, *scores, strict=True)
    ]


def places(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """How many classes come before the right one (pictures,); of equal probabilities the first class is first."""
    own = probabilities[np.arange(len(labels)), labels][:, None]
    before = (probabilities == own) & (np.arange(probabilities.shape[1]) < labels[:, None])
    return ((probabilities > own) | before).sum(axis=1)


def losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(2, pictures): the negative logarithm of the right class's probability, and Brier's score of each picture.

    Brier, Verification of forecasts expressed in terms of probability, 1950: the sum over classes of squared errors,
    0 to 2. A probability of 0 counts as the smallest step of float64, as in scikit-learn.
    """
    own = probabilities[np.arange(len(labels)), labels]
    brier = np.square(probabilities).sum(axis=1) - 2 * own + 1
    return np.stack([-np.log(np.maximum(own, np.finfo(np.float64).eps)), brier])


def bins(probabilities: np.ndarray) -> np.ndarray:
    """The bin of each picture (pictures,), from 0: which fifteenth of 0 to 1 its largest probability is in."""
    edges = np.linspace(0, 1, BINS + 1)
    return np.digitize(probabilities.max(axis=1), edges[1:-1], right=True)


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> list[Bin]:
    """What the model was right in, by how sure it was; bins without pictures are left out.

    Guo et al., On Calibration of Modern Neural Networks, 2017. The expected calibration error is the mean over pictures
    of the gap between a bin's accuracy and its confidence.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    number = bins(probabilities)
    return [
        Bin(int(one), float(confidence[number == one].mean()), float(right[number == one].mean()), int(count))
        for one, count in zip(*np.unique(number, return_counts=True), strict=True)
    ]


def chance_error(probabilities: np.ndarray) -> float:
    """The calibration error that a perfectly calibrated model shows on average: on few pictures it is far from 0.

    In each bin the sum of gaps is then about normal, with the variance that the confidences say.
    """
    confidence = probabilities.max(axis=1)
    variances = np.bincount(bins(probabilities), confidence * (1 - confidence))
    return float(np.sqrt(2 / np.pi * variances).sum() / len(confidence))
