"""Measure the model on the test split, every figure with its uncertainty, and show where it is wrong, and why.

Reads   models, data/features, data/split, data/augmented, reports/groups.csv, reports/history.csv
Writes  reports/metrics.json, reports/per_class.csv, reports/predictions.csv, reports/label_issues.csv, reports/roc.csv,
        reports/precision_recall.csv, reports/reliability.csv, reports/plots/*.png, reports/report.html
Params  base.seed, evaluate
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from darkroom.core import paths, runtime, seeds
from darkroom.core.files import read_csv, whole_folder, write_json
from darkroom.core.model_spec import model_sha256
from darkroom.core.params import Base
from darkroom.evaluate.intervals import wilson
from darkroom.evaluate.params import Params
from darkroom.images.folders import PARTS
from darkroom.models.classifier import Classifier
from darkroom.pipeline.script import run
from darkroom.tracking import pipeline_log, store

if TYPE_CHECKING:
    from darkroom.evaluate.label_noise import Suspect
    from darkroom.evaluate.metrics import Predictions
    from darkroom.evaluate.tables import Tables


def main(base: Base, params: Params) -> None:
    """Predict, measure, draw, write, and add all of it to the model's run."""
    started = time.monotonic()
    runtime.prepare(base.seed)
    model = Classifier.load(paths.MODELS)
    said = {part: predict(model, part) for part in PARTS}
    suspects = None
    if params.label_issues:
        from darkroom.evaluate import label_noise

        suspects = label_noise.suspects(model, base.seed)
    figures = evaluate(model, model_sha256(paths.MODELS), said, suspects, params, base.seed)
    store.excused(lambda: pipeline_log.log_evaluation(time.monotonic() - started))
    low, high = figures["accuracy_low"], figures["accuracy_high"]
    print(f"evaluate: accuracy {figures['accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f}); {paths.REPORT}")


def evaluate(
    model: Classifier,
    sha256: str,
    said: Mapping[str, "Predictions"],
    suspects: "list[Suspect] | None",
    params: Params,
    seed: int,
) -> dict[str, Any]:
    """Measure, draw and write.

    Args:
        model: what is evaluated.
        sha256: its own, by which whoever finds the figures knows whose they are.
        said: what it says of train, val and test.
        suspects: the labels that look wrong; None where none were looked for.
        params: the stage's.
        seed: draws the resamples and the pictures that are explained.

    Returns:
        The figures of metrics.json.
    """
    from darkroom.evaluate import bootstrap, galleries, report, tables

    test, found = said["test"], suspects or []
    resamples = bootstrap.affordable(params.bootstrap, *test.probabilities.shape)
    figures = {"model_sha256": sha256} | measure(said, model.spec.temperature, resamples, seed)
    if suspects is not None:
        figures["label_issues"] = len(suspects)
    tested = tables.of(test, model.spec.temperature, model.spec.classes)
    with whole_folder(paths.PLOTS) as folder:
        draw(model, test, tested, folder)
        galleries.mistakes(test, model.spec.classes, params.mistakes, folder / "mistakes.png")
        galleries.doubts(test, model.spec.classes, params.mistakes, folder / "doubts.png")
        galleries.suspects(found[: params.label_issues], folder / "label_issues.png")
        no_grad_cam = galleries.grad_cam(model, test, params.grad_cam, seed, folder / "grad_cam.png")
    tables.write(tested, test, found)
    asked = params.model_dump() | {"resamples": resamples, "no_grad_cam": no_grad_cam}
    report.write(paths.REPORT, paths.PLOTS, model, figures, tested.scores, asked)
    write_json(paths.METRICS, figures)  # last, since it says whose all this is
    return figures


def predict(model: Classifier, part: str) -> "Predictions":
    """What the model says of a split: the float32 probabilities that the exported model gives, made to add up to 1."""
    from scipy.special import softmax

    from darkroom.evaluate.metrics import Predictions

    inputs = model.inputs(part)
    logits = model.logits(inputs)
    given = [
        softmax(logits / np.float32(temperature), axis=1).astype(np.float64)
        for temperature in (1, model.spec.temperature)
    ]
    plain, calibrated = (probabilities / probabilities.sum(axis=1, keepdims=True) for probabilities in given)
    return Predictions(inputs.paths, inputs.numbers(model.spec.classes), plain, calibrated)


def measure(said: Mapping[str, "Predictions"], temperature: float, resamples: int, seed: int) -> dict[str, Any]:
    """Everything in metrics.json but the number of labels that look wrong, rounded to eight places.

    Args:
        said: of train, val and test.
        temperature: of the calibration.
        resamples: of the test pictures, for the intervals.
        seed: draws them.
    """
    from darkroom.evaluate import bootstrap
    from darkroom.evaluate import metrics as measures

    test = said["test"]
    count, values = len(test.labels), measures.headline(test.labels, test.probabilities)
    intervals = bootstrap.intervals(test.labels, test.probabilities, resamples, seeds.stream(seed, "bootstrap"))
    shares = measures.SHARES & values.keys()
    intervals |= {name: wilson(round(values[name] * count), count) for name in shares}
    figures: dict[str, Any] = {}
    for name, value in values.items():
        figures[name] = value
        if name in intervals:
            figures[f"{name}_low"], figures[f"{name}_high"] = intervals[name]
    plain = measures.calibration(test.labels, test.plain)
    figures |= {"temperature": temperature} | {f"uncalibrated_{name}": value for name, value in plain.items()}
    for part in ("train", "val"):
        _, labels, _, probabilities = said[part]
        figures[f"accuracy_{part}"] = float((probabilities.argmax(axis=1) == labels).mean())
        figures[f"log_loss_{part}"] = measures.calibration(labels, probabilities)["log_loss"]
    figures |= {f"n_{part}": len(said[part].labels) for part in PARTS}
    return {name: round(value, 8) for name, value in figures.items()}


def draw(model: Classifier, test: "Predictions", tested: "Tables", folder: Path) -> None:
    """Plots of the figures."""
    from darkroom.evaluate import plots

    plots.confusion(test.labels, test.probabilities.argmax(axis=1), model.spec.classes, folder)
    plots.per_class(tested.scores, folder / "per_class.png")
    plots.reliability(tested.bins, folder / "reliability.png")
    plots.curves(read_csv(paths.HISTORY), model.spec.epoch, folder / "curves.png")
    if tested.roc:
        plots.roc(tested.roc, folder / "roc.png")
        plots.precision_recall(tested.precision_recall, folder / "precision_recall.png")


if __name__ == "__main__":
    run("evaluate", main)
