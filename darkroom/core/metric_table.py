"""The metrics of an evaluation: the key of each in reports/metrics.json, its label, its explanation, its interval."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

TOP = (3, 5)  # the k of top-k accuracy
BINS = 15  # of confidence in the calibration error, as in Guo et al., On Calibration of Modern Neural Networks, 2017
LOW, HIGH = "_low", "_high"  # appended to a key: the ends of its 95 % interval
UNCALIBRATED = "uncalibrated_"  # before a key: without temperature scaling


@dataclass(frozen=True)
class Metric:
    """A metric of the test split.

    A share of the pictures always has an interval, Wilson's. The others have one by bootstrap, and none where all
    resamples give the same figure, as they do where the model makes no mistake.
    """

    key: str
    label: str
    explanation: str
    interval: Literal["wilson", "bootstrap"] = "bootstrap"
    highest: float = 1.0  # the lowest is 0
    headline: bool = False  # shown where there is room for a few metrics only
    calibration: bool = False  # about the probabilities, and so changed by temperature scaling

    @property
    def title(self) -> str:
        """The label with a capital letter."""
        return self.label[0].upper() + self.label[1:]


METRICS = (
    Metric(
        "accuracy",
        "accuracy",
        "Share of pictures whose most probable class is the right one.",
        interval="wilson",
        headline=True,
    ),
    *(
        Metric(
            f"top_{k}_accuracy",
            f"top-{k} accuracy",
            f"Share of pictures whose class is among the {k} most probable.",
            interval="wilson",
        )
        for k in TOP
    ),
    Metric(
        "balanced_accuracy",
        "balanced accuracy",
        "Mean recall of the classes: every class counts the same, however rare it is.",
        headline=True,
    ),
    Metric(
        "macro_precision",
        "macro precision",
        "Share of the pictures predicted as a class that belong to it; mean over the classes.",
    ),
    Metric("macro_f1", "macro F1", "Harmonic mean of precision and recall; mean over the classes.", headline=True),
    Metric(
        "weighted_precision",
        "weighted precision",
        "Precision; mean over the classes, weighted by their number of test pictures.",
    ),
    Metric(
        "weighted_recall",
        "weighted recall",
        "Recall; mean over the classes, weighted by their number of test pictures: equal to the accuracy.",
        interval="wilson",
    ),
    Metric("weighted_f1", "weighted F1", "F1; mean over the classes, weighted by their number of test pictures."),
    Metric(
        "roc_auc",
        "ROC AUC",
        "Probability that a picture of a class gets a higher score for it than one of the rest (chance: 0.5); mean "
        "over the classes.",
    ),
    Metric(
        "average_precision",
        "average precision",
        "Area under the precision-recall curve, each class against the rest; mean over the classes.",
    ),
    Metric(
        "log_loss",
        "log loss",
        "Mean negative logarithm of the right class's probability; confident mistakes cost most. 0 is best.",
        highest=float("inf"),
        headline=True,
        calibration=True,
    ),
    Metric(
        "brier",
        "Brier score",
        "Mean squared error of the probabilities, summed over the classes: 0 is best, 2 is worst.",
        highest=2.0,
        calibration=True,
    ),
    Metric(
        "ece",
        "calibration error",
        f"Expected calibration error: mean gap between confidence and accuracy, in {BINS} bins of confidence.",
        headline=True,
        calibration=True,
    ),
)
BY_KEY = {metric.key: metric for metric in METRICS}


class Estimate(NamedTuple):
    """A figure with its 95 % interval, or without one."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, figures: Mapping[str, Any], key: str) -> "Estimate":
        """The figure of a key in reports/metrics.json, or of a metric in MLflow, with the interval beside it if any."""
        return cls(figures[key], figures.get(key + LOW), figures.get(key + HIGH))

    def interval(self, form: str = ".4f") -> str:
        """`0.8213 to 0.8790`; empty where there is no interval."""
        return "" if self.low is None or self.high is None else f"{self.low:{form}} to {self.high:{form}}"

    def text(self, form: str = ".4f") -> str:
        """`0.8534, 95 % interval 0.8213 to 0.8790`, or the figure alone; `form` formats each number."""
        interval = self.interval(form)
        return f"{self.value:{form}}, 95 % interval {interval}" if interval else f"{self.value:{form}}"
