"""The metrics of an evaluation, from the labels of pictures and the probabilities that a model gives them.

Throughout, `labels` are class numbers (pictures,) and `probabilities` are (pictures, classes) in float64, each row
adding up to 1. Means over classes leave out classes that have no pictures here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn import metrics

from darkroom.core.metric_table import BINS, TOP


class ClassScores(NamedTuple):
    """How well a class is recognised; a score is 0 where it would divide by 0."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int  # pictures of the class


class Bin(NamedTuple):
    """Pictures on which the model is about equally confident."""

    number: int  # from 0
    confidence: float  # mean
    accuracy: float
    pictures: int


def point_estimates(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """All metrics of `core.metric_table` by key, without intervals.

    Left out are `top_<k>_accuracy` where there are no more than k classes, and `roc_auc` and `average_precision` where
    all pictures are of one class.
    """
    predicted, present = probabilities.argmax(axis=1), np.unique(labels)
    rank = ranks(labels, probabilities)
    top = {f"top_{k}_accuracy": k for k in TOP if k < probabilities.shape[1]}
    values = {key: float((rank < k).mean()) for key, k in ({"accuracy": 1} | top).items()}
    for average, recall_key in (("macro", "balanced_accuracy"), ("weighted", "weighted_recall")):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            labels, predicted, labels=present, average=average, zero_division=0
        )
        values |= {recall_key: float(recall), f"{average}_precision": float(precision), f"{average}_f1": float(f1)}
    if len(present) > 1:
        one_vs_rest = [(labels == number, probabilities[:, number]) for number in present]
        for key, score in (("roc_auc", metrics.roc_auc_score), ("average_precision", metrics.average_precision_score)):
            values[key] = float(np.mean([score(positive, scores) for positive, scores in one_vs_rest]))
    return values | calibration(labels, probabilities)


def calibration(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Log loss, Brier score and expected calibration error, by key."""
    log_loss, brier = losses(labels, probabilities).mean(axis=1)
    gaps = [row.pictures * abs(row.accuracy - row.confidence) for row in reliability(labels, probabilities)]
    return {"log_loss": float(log_loss), "brier": float(brier), "ece": sum(gaps) / len(labels)}


def per_class(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> list[ClassScores]:
    """Precision, recall, F1 and number of pictures of each class."""
    columns = metrics.precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=range(len(classes)), zero_division=0
    )
    return [
        ClassScores(name, float(precision), float(recall), float(f1), int(support))
        for name, precision, recall, f1, support in zip(classes, *columns, strict=True)
    ]


def ranks(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """How many classes rank above the right one (pictures,); ties are broken by the order of the classes."""
    own = probabilities[np.arange(len(labels)), labels][:, None]
    tied_before = (probabilities == own) & (np.arange(probabilities.shape[1]) < labels[:, None])
    return ((probabilities > own) | tied_before).sum(axis=1)


def losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(2, pictures): the log loss and the Brier score of each picture.

    The Brier score is the sum of squared errors over the classes, 0 to 2 (Brier, Verification of forecasts expressed in
    terms of probability, 1950). For the logarithm, probabilities are at least the epsilon of float64, as in
    scikit-learn.
    """
    own = probabilities[np.arange(len(labels)), labels]
    brier = np.square(probabilities).sum(axis=1) - 2 * own + 1
    return np.stack([-np.log(np.maximum(own, np.finfo(np.float64).eps)), brier])


def confidence_bins(probabilities: np.ndarray) -> np.ndarray:
    """The bin of each picture's largest probability (pictures,): 0 to `BINS` - 1, of equal width."""
    edges = np.linspace(0, 1, BINS + 1)
    return np.digitize(probabilities.max(axis=1), edges[1:-1], right=True)


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> list[Bin]:
    """Confidence and accuracy of each bin that has pictures.

    Guo et al., On Calibration of Modern Neural Networks, 2017. The expected calibration error is the mean gap between
    them, weighted by pictures.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    numbers = confidence_bins(probabilities)
    return [
        Bin(
            int(number),
            float(confidence[numbers == number].mean()),
            float(right[numbers == number].mean()),
            int(pictures),
        )
        for number, pictures in zip(*np.unique(numbers, return_counts=True), strict=True)
    ]


def chance_calibration_error(probabilities: np.ndarray) -> float:
    """The calibration error that a perfectly calibrated model would show on average, which few pictures make large.

    The sum of gaps in a bin is then approximately normal, with the variance that the confidences imply.
    """
    confidence = probabilities.max(axis=1)
    variances = np.bincount(confidence_bins(probabilities), confidence * (1 - confidence))
    return float(np.sqrt(2 / np.pi * variances).sum() / len(confidence))
