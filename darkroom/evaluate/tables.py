"""The tables of an evaluation, for the page, for DVC's plots and for whoever goes on with them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from darkroom.core import paths
from darkroom.core.files import write_csv
from darkroom.evaluate import curves as ranking
from darkroom.evaluate import metrics
from darkroom.evaluate.curves import Curve
from darkroom.evaluate.metrics import Bin, Predictions, Score

if TYPE_CHECKING:
    from darkroom.evaluate.label_noise import Suspect


class Tables(NamedTuple):
    """Scores of the classes, curves, and bins of confidence `before` (where calibration is on) and `after`."""

    scores: list[Score]
    roc: list[Curve]
    precision_recall: list[Curve]
    bins: dict[str, list[Bin]]


def of(test: Predictions, temperature: float, classes: Sequence[str]) -> Tables:
    """Work them out."""
    bins = {"before": metrics.reliability(test.labels, test.plain)} if temperature != 1 else {}
    return Tables(
        metrics.per_class(test.labels, test.probabilities, classes),
        ranking.roc(test.labels, test.probabilities, classes),
        ranking.precision_recall(test.labels, test.probabilities, classes),
        bins | {"after": metrics.reliability(test.labels, test.probabilities)},
    )


def write(tables: Tables, test: Predictions, suspects: Sequence["Suspect"]) -> None:
    """All of them, with the predictions and the labels that look wrong."""
    classes, predicted, rows = (
        [score[0] for score in tables.scores],
        test.probabilities.argmax(axis=1),
        test.probabilities,
    )
    write_csv(paths.PER_CLASS, ("class", "precision", "recall", "f1", "support"), tables.scores)
    write_csv(
        paths.PREDICTIONS,
        ("path", "label", "predicted", "probability", "label_probability"),
        [
            (path, classes[label], classes[number], f"{row[number]:.6f}", f"{row[label]:.6f}")
            for path, label, number, row in zip(test.paths, test.labels, predicted, rows, strict=True)
        ],
    )
    write_csv(paths.LABEL_ISSUES, ("path", "split", "label", "suggested", "quality"), suspects)
    rates = ("class", "false_positive_rate", "true_positive_rate")
    write_csv(paths.ROC, rates, ranking.table(tables.roc))
    write_csv(paths.PRECISION_RECALL, ("class", "recall", "precision"), ranking.table(tables.precision_recall))
    write_csv(
        paths.RELIABILITY,
        ("bin", "confidence", "accuracy", "pictures", "temperature"),
        [
            (one.number + 1, f"{one.confidence:.6f}", f"{one.accuracy:.6f}", one.pictures, when)
            for when, found in tables.bins.items()
            for one in found
        ],
    )
