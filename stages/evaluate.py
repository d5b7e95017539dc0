"""Measure the model on the test split, every figure with its uncertainty, and show where it is wrong.

Reads   models, data/features, data/split/test, reports/history.csv
Writes  reports/metrics.json, reports/per_class.csv, reports/predictions.csv, reports/plots/*.png, reports/report.html
Params  base.seed, evaluate
"""

import time
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from stages.common import hardware, plots, tracking
from stages.common.classifier import Classifier
from stages.common.files import read_csv, whole_folder, write_csv, write_json
from stages.common.params import Base, Section
from stages.common.paths import HISTORY, METRICS, MODELS, PER_CLASS, PLOTS, PREDICTIONS, REPORT
from stages.common.stage import run


class Params(Section):
    """Section `evaluate` of params.yaml."""

    mistakes: int = Field(ge=0)


def main(base: Base, params: Params) -> None:
    """Predict, measure, draw, and add all of it to the model's run."""
    started = time.monotonic()
    hardware.prepare(base.seed)
    model = Classifier.load(MODELS)
    test = model.inputs("test")
    labels, probabilities = test.numbers(model.classes), model.probabilities(test)
    figures, per_class = measure(labels, probabilities, model.classes)
    predicted, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    write_json(METRICS, figures)
    write_csv(PER_CLASS, ("class", "precision", "recall", "f1", "support"), per_class)
    write_csv(
        PREDICTIONS,
        ("path", "label", "predicted", "probability"),
        [
            (path, label, model.classes[number], f"{probability:.6f}")
            for path, label, number, probability in zip(test.paths, test.labels, predicted, sure, strict=True)
        ],
    )
    with whole_folder(PLOTS) as folder:
        plots.confusion(labels, predicted, model.classes, folder / "confusion.png")
        plots.per_class(per_class, folder / "per_class.png")
        plots.curves(read_csv(HISTORY), model.settings["epoch"], folder / "curves.png")
        wrong = most_confident_mistakes(labels, probabilities, params.mistakes)
        shown = [(test.paths[i], test.labels[i], model.classes[predicted[i]], float(sure[i])) for i in wrong]
        plots.gallery(shown, folder / "mistakes.png")
    plots.report(REPORT, figures, per_class, model, PLOTS)
    tracking.excused(lambda: tracking.log_evaluation(time.monotonic() - started))
    low, high = figures["accuracy_low"], figures["accuracy_high"]
    print(f"evaluate: accuracy {figures['accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f}); {REPORT}")


def measure(
    labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> tuple[dict[str, float], list[tuple[str, float, float, float, int]]]:
    """Headline figures, and precision, recall, F1 and support of each class.

    Args:
        labels: class numbers (pictures,).
        probabilities: (pictures, classes), rows adding up to 1.
        classes: names by number.

    The interval of the accuracy is Wilson's (1927), 95 %.
    """
    from scipy.stats import binomtest
    from sklearn import metrics

    probabilities = probabilities.astype(np.float64) / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    predicted, numbers = probabilities.argmax(axis=1), range(len(classes))
    right = int((predicted == labels).sum())
    low, high = binomtest(right, len(labels)).proportion_ci(0.95, method="wilson")
    scores = metrics.precision_recall_fscore_support(labels, predicted, labels=numbers, zero_division=0)
    figures = {
        "accuracy": right / len(labels),
        "accuracy_low": float(low),
        "accuracy_high": float(high),
        "balanced_accuracy": float(scores[1].mean()),
        "macro_f1": float(scores[2].mean()),
        "log_loss": float(metrics.log_loss(labels, probabilities, labels=numbers)),
        "n_test": len(labels),
    }
    per_class = [
        (name, float(precision), float(recall), float(f1), int(support))
        for name, precision, recall, f1, support in zip(classes, *scores, strict=True)
    ]
    return figures, per_class


def most_confident_mistakes(labels: np.ndarray, probabilities: np.ndarray, count: int) -> list[int]:
    """Rows that the model got wrong, the surest first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return [int(row) for row in wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:count]]


if __name__ == "__main__":
    run("evaluate", main)
