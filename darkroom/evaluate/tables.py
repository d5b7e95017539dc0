"""The tables of an evaluation, for the report, for DVC's plots and for further analysis."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from darkroom.core import paths
from darkroom.core.files import write_csv
from darkroom.evaluate import curves, metrics
from darkroom.evaluate.curves import Curve
from darkroom.evaluate.metrics import Bin, ClassScores
from darkroom.evaluate.predictions import Predictions

if TYPE_CHECKING:
    from darkroom.evaluate.label_noise import LabelQuality


class Tables(NamedTuple):
    """Scores of the classes, curves, and bins of confidence `before` calibration (where it is on) and `after`."""

    scores: list[ClassScores]
    roc: list[Curve]
    precision_recall: list[Curve]
    bins: dict[str, list[Bin]]


def compute(test: Predictions, temperature: float, classes: Sequence[str]) -> Tables:
    """Compute all tables of the test split."""
    before = {"before": metrics.reliability(test.labels, test.uncalibrated)} if temperature != 1 else {}
    return Tables(
        metrics.per_class(test.labels, test.probabilities, classes),
        curves.roc(test.labels, test.probabilities, classes),
        curves.precision_recall(test.labels, test.probabilities, classes),
        before | {"after": metrics.reliability(test.labels, test.probabilities)},
    )


def write(tables: Tables, test: Predictions, labels: Sequence["LabelQuality"]) -> None:
    """Write the tables, the predictions and the quality of the labels as CSV files."""
    classes = [scores.name for scores in tables.scores]
    write_csv(paths.PER_CLASS, ("class", "precision", "recall", "f1", "support"), tables.scores)
    write_csv(
        paths.PREDICTIONS,
        ("path", "label", "predicted", "probability", "label_probability"),
        [
            (path, classes[label], classes[number], f"{row[number]:.6f}", f"{row[label]:.6f}")
            for path, label, number, row in zip(
                test.paths, test.labels, test.predicted, test.probabilities, strict=True
            )
        ],
    )
    header = ("path", "split", "label", "suggested", "quality", "suggested_quality")
    for path, issue in ((paths.LABEL_ISSUES, True), (paths.LABEL_QUALITY, False)):
        write_csv(path, header, (label[: len(header)] for label in labels if label.issue == issue))
    rates = ("class", "false_positive_rate", "true_positive_rate")
    write_csv(paths.ROC, rates, curves.points(tables.roc))
    write_csv(paths.PRECISION_RECALL, ("class", "recall", "precision"), curves.points(tables.precision_recall))
    write_csv(
        paths.RELIABILITY,
        ("bin", "confidence", "accuracy", "pictures", "temperature"),
        [
            (row.number + 1, f"{row.confidence:.6f}", f"{row.accuracy:.6f}", row.pictures, time)
            for time, bins in tables.bins.items()
            for row in bins
        ],
    )
