"""The report of an evaluation: one HTML file with all images embedded, which loads nothing from any server."""

import base64
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from darkroom.core.files import whole_file
from darkroom.core.metric_table import METRICS, UNCALIBRATED, Estimate
from darkroom.core.model_spec import ModelSpec
from darkroom.evaluate.metrics import ClassScores

TEMPLATE = Path(__file__).with_name("report.html")


def write(
    target: Path,
    plots: Path,
    model: ModelSpec,
    metrics: Mapping[str, Any],
    scores: Sequence[ClassScores],
    options: Mapping[str, Any],
) -> None:
    """Fill the template.

    Args:
        target: the HTML file.
        plots: folder of the PNG files; a section without its image gives the reason, or is left out.
        model: the model that was evaluated.
        metrics: the content of metrics.json.
        scores: of each class.
        options: the params of the stage, `resamples` behind the intervals, and `no_grad_cam`, the reason why there is
            no Grad-CAM, `steps`, what to do next, and `slices` of the test pictures.
    """
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters |= {"whole": "{:,}".format, "four": "{:.4f}".format}
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        images={path.stem: _image(path.read_bytes()) for path in sorted(plots.glob("*.png"))},
        model=model,
        backbone=model.backbone.model_dump(by_alias=True, exclude_unset=True),
        metrics=metrics,
        table=[(metric, Estimate.of(metrics, metric.key)) for metric in METRICS if metric.key in metrics],
        uncalibrated=UNCALIBRATED,
        scores=sorted(scores, key=lambda row: row.f1),
        **options,
    )
    with whole_file(target) as partial:
        partial.write_text(page, encoding="utf-8")


def _image(png: bytes) -> dict[str, Any]:
    """A PNG file in base64, with its size in pixels from its header."""
    width, height = struct.unpack(">II", png[16:24])
    return {"data": base64.b64encode(png).decode(), "width": width, "height": height}
