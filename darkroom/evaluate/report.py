"""The page of an evaluation: one HTML file with all pictures inside, which asks nothing of any server."""

import base64
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from darkroom.core.files import whole_file
from darkroom.evaluate.metrics import BINS, TOP, Score
from darkroom.models.classifier import Classifier

TEMPLATE = Path(__file__).with_name("report.html")
# Name in metrics.json, name on the page, what it says.
SCORES = [
    ("accuracy", "Accuracy", "Share of the pictures whose most probable class is the right one."),
    *(
        (f"top_{k}_accuracy", f"Top-{k} accuracy", f"Share of the pictures whose class is among the {k} most probable.")
        for k in TOP
    ),
    ("balanced_accuracy", "Balanced accuracy", "Mean recall of the classes: each counts the same, however rare it is."),
    (
        "macro_precision",
        "Precision, macro",
        "Of what is taken for a class, the share that is of it; mean of the classes.",
    ),
    ("macro_f1", "F1, macro", "Harmonic mean of precision and recall; mean of the classes."),
    ("weighted_precision", "Precision, weighted", "Precision where a class counts by its test pictures."),
    ("weighted_recall", "Recall, weighted", "Recall where a class counts by its test pictures: the accuracy."),
    ("weighted_f1", "F1, weighted", "F1 where a class counts by its test pictures."),
    (
        "roc_auc",
        "ROC AUC",
        "How often a picture of a class gets a higher probability for it than one of the rest (0.5: chance); mean of "
        "the classes.",
    ),
    (
        "average_precision",
        "Average precision",
        "Area under the precision-recall curve, each class against the rest; mean of the classes.",
    ),
]
CALIBRATION = [
    (
        "log_loss",
        "Log loss",
        "Mean negative logarithm of the right class's probability; sure mistakes cost most. 0 is best.",
    ),
    ("brier", "Brier score", "Mean squared error of the probabilities, summed over the classes: 0 is best, 2 worst."),
    (
        "ece",
        "Calibration error",
        f"Mean gap between how sure the model is and how often it is right, in {BINS} bins of confidence (ECE).",
    ),
]


def write(
    target: Path,
    plots: Path,
    model: Classifier,
    figures: Mapping[str, Any],
    rows: Sequence[Score],
    notes: Mapping[str, Any],
) -> None:
    """Fill the template.

    Args:
        target: the HTML file.
        plots: folder of the PNG files; a section whose picture is absent says why, or is left out.
        model: what was evaluated.
        figures: those of metrics.json.
        rows: precision, recall, F1 and support of each class.
        notes: what the params asked for, `resamples` behind the intervals, and `no_grad_cam`, the reason why there
            are no explanations.
    """
    images = {path.stem: _image(path.read_bytes()) for path in sorted(plots.glob("*.png"))}
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters |= {
        "whole": "{:,}".format,
        "percent": lambda share: f"{100 * share:.2f} %",
        "four": "{:.4f}".format,
    }
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        images=images,
        model=model.spec,
        backbone=model.spec.backbone.model_dump(by_alias=True, exclude_unset=True),
        figures=figures,
        scores=SCORES,
        calibration=CALIBRATION,
        rows=sorted(rows, key=lambda row: row[3]),
        **notes,
    )
    with whole_file(target) as partial:
        partial.write_text(page, encoding="utf-8")


def _image(data: bytes) -> dict[str, Any]:
    """A PNG file as base64, with its size in pixels from its header."""
    width, height = struct.unpack(">II", data[16:24])
    return {"data": base64.b64encode(data).decode(), "width": width, "height": height}
