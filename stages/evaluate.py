"""Measure the model on the test split, every metric with its uncertainty, and show where and why it is wrong.

Reads   models, data/features, data/split, data/augmented, reports/augment.json, reports/groups.csv,
        reports/history.csv, reports/train.json
Writes  in reports: metrics.json, per_class.csv, predictions.csv, label_issues.csv, label_quality.csv, roc.csv,
        precision_recall.csv, reliability.csv, plots/*.png, report.html
Params  base.seed, evaluate
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.core import paths, reports, runtime, seeds
from darkroom.core.files import whole_folder, write_json
from darkroom.core.metric_table import BY_KEY, HIGH, LOW, UNCALIBRATED, Estimate
from darkroom.core.model_spec import ModelSpec, verified_sha256
from darkroom.core.params import Base
from darkroom.evaluate.params import Params
from darkroom.images.folders import PARTS
from darkroom.models.classifier import Classifier
from darkroom.pipeline.script import run
from darkroom.tracking import failures, pipeline_log

if TYPE_CHECKING:
    from darkroom.evaluate.embedding import Embedding
    from darkroom.evaluate.label_noise import LabelQuality
    from darkroom.evaluate.predictions import Predictions
    from darkroom.evaluate.tables import Tables


def main(base: Base, params: Params) -> None:
    """Evaluate the model, and add the results to its run."""
    started = time.monotonic()
    sha256 = verified_sha256()
    reports.history()  # a damaged one is named before the work
    runtime.prepare(base.seed)
    from darkroom.evaluate import label_noise
    from darkroom.evaluate.embedding import embed
    from darkroom.evaluate.predictions import predict

    model = Classifier.load(paths.MODELS)
    predictions = {part: predict(model, part) for part in PARTS}
    embedding = embed(model.spec, lambda: model, base.seed)
    labels = label_noise.assess(embedding, model.spec.classes, base.seed) if params.label_issues else None
    metrics = evaluate(model, sha256, predictions, embedding, labels, params, base.seed)
    failures.best_effort(lambda: pipeline_log.log_evaluation(time.monotonic() - started))
    print(f"evaluate: accuracy {Estimate.of(metrics, 'accuracy').text()}; {paths.REPORT}")


def evaluate(
    model: Classifier,
    sha256: str,
    predictions: Mapping[str, "Predictions"],
    embedding: "Embedding | None",
    labels: "list[LabelQuality] | None",
    params: Params,
    seed: int,
) -> dict[str, Any]:
    """Measure, draw and write.

    Args:
        model: that is evaluated.
        sha256: of the model, by which readers of metrics.json recognise it.
        predictions: on train, val and test.
        embedding: of all pictures, by which similar ones are found; None if there is none.
        labels: quality of the labels; None if it was not looked for.
        params: of the stage.
        seed: of the resamples and of the pictures for Grad-CAM.

    Returns:
        The content of metrics.json.
    """
    from darkroom.evaluate import bootstrap, corrections, galleries, next_steps, picture_map, report, slices, tables

    test, spec = predictions["test"], model.spec
    issues = [label for label in labels or () if label.issue]
    resamples = bootstrap.affordable(params.bootstrap, *test.probabilities.shape)
    metrics = {"model_sha256": sha256} | measure(predictions, spec.temperature, resamples, seed)
    metrics |= corrections.by_source_labels(test, spec.classes)
    if labels is not None:
        metrics["label_issues"] = len(issues)
    results = tables.compute(test, spec.temperature, spec.classes)
    with whole_folder(paths.PLOTS) as folder:
        plot(spec, test, results, folder)
        galleries.draw(test, spec.classes, embedding, issues[: params.label_issues], params.mistakes, folder)
        no_grad_cam = galleries.grad_cam(model, test, params.grad_cam, seed, folder / "grad_cam.png")
    tables.write(results, test, labels or [])
    weak = slices.find(predictions["val"], "val").worse
    steps = next_steps.suggest(predictions, spec, reports.training()["params"], labels or (), weak)
    options = {"resamples": resamples, "no_grad_cam": no_grad_cam, "steps": steps, "slices": slices.find(test, "test")}
    options["map"] = embedding and picture_map.draw(embedding, predictions, spec.classes, params.map, seed)
    report.write(paths.REPORT, paths.PLOTS, spec, metrics, results.scores, params.model_dump() | options)
    write_json(paths.METRICS, metrics)  # last: its hash of the model vouches for all other files
    return metrics


def measure(
    predictions: Mapping[str, "Predictions"], temperature: float, resamples: int, seed: int
) -> dict[str, float]:
    """Compute the metrics of metrics.json, rounded to eight decimals.

    Args:
        predictions: on train, val and test.
        temperature: of the calibration.
        resamples: of the test pictures, for the intervals.
        seed: of the resamples.
    """
    from darkroom.evaluate import bootstrap
    from darkroom.evaluate.metrics import calibration, point_estimates
    from darkroom.evaluate.statistics import wilson

    test = predictions["test"]
    count, estimates = len(test.labels), point_estimates(test.labels, test.probabilities)
    intervals = bootstrap.intervals(test.labels, test.probabilities, resamples, seeds.stream(seed, "bootstrap"))
    metrics: dict[str, float] = {}
    for key, value in estimates.items():
        if BY_KEY[key].interval == "wilson":
            intervals[key] = wilson(round(value * count), count)
        metrics[key] = value
        if key in intervals:
            metrics[key + LOW], metrics[key + HIGH] = intervals[key]
    metrics["temperature"] = temperature
    uncalibrated = calibration(test.labels, test.uncalibrated)
    metrics |= {UNCALIBRATED + key: value for key, value in uncalibrated.items()}
    for part in ("train", "val"):
        labels, probabilities = predictions[part].labels, predictions[part].probabilities
        metrics[f"accuracy_{part}"] = float((predictions[part].predicted == labels).mean())
        metrics[f"log_loss_{part}"] = calibration(labels, probabilities)["log_loss"]
    metrics |= {f"n_{part}": len(predictions[part].labels) for part in PARTS}
    return {key: round(value, 8) for key, value in metrics.items()}


def plot(spec: ModelSpec, test: "Predictions", results: "Tables", folder: Path) -> None:
    """Draw the confusion matrix, the scores of the classes, and the curves."""
    from darkroom.evaluate import plots

    plots.confusion(test.labels, test.predicted, spec.classes, folder)
    plots.per_class(results.scores, folder / "per_class.png")
    plots.reliability(results.bins, folder / "reliability.png")
    plots.curves(reports.history(), spec.epoch, folder / "curves.png")
    if results.roc:
        plots.roc(results.roc, folder / "roc.png")
        plots.precision_recall(results.precision_recall, folder / "precision_recall.png")


if __name__ == "__main__":
    run("evaluate", main)
