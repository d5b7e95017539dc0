"""The report of an evaluation: one HTML file with all images embedded, which loads nothing from any server."""

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from darkroom.core.files import whole_file
from darkroom.core.metric_table import METRICS, UNCALIBRATED, Estimate
from darkroom.core.model_spec import ModelSpec
from darkroom.evaluate.metrics import ClassScores

GALLERIES = ("mistakes", "doubts", "similar", "label_issues", "grad_cam")
QUALITY = 88  # of JPEG
TEMPLATE, SCRIPT = (Path(__file__).with_name(name) for name in ("report.html", "picture_map.js"))


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
            no Grad-CAM, `steps`, what to do next, `slices` of the test pictures, and `map`, the content of the map of
            the pictures (see `picture_map.draw`), or None.
    """
    script = SCRIPT.read_text(encoding="utf-8")
    values = {key: value for key, value in (options["map"] or {}).items() if key != "thumbnails"}
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters |= {"whole": "{:,}".format, "four": "{:.4f}".format}
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        images={path.stem: _image(path) for path in sorted(plots.glob("*.png"))},
        model=model,
        backbone=model.backbone.model_dump(by_alias=True, exclude_unset=True),
        metrics=metrics,
        table=[(metric, Estimate.of(metrics, metric.key)) for metric in METRICS if metric.key in metrics],
        uncalibrated=UNCALIBRATED,
        scores=sorted(scores, key=lambda row: row.f1),
        **options,
        # Neither ends the element that it is in.
        map_data=Markup(json.dumps(values, separators=(",", ":")).replace("<", "\\u003c")),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
    )
    with whole_file(target) as partial:
        partial.write_text(page, encoding="utf-8")


def _image(path: Path) -> dict[str, Any]:
    """A PNG file in base64 with its size in pixels; photographs as JPEG, which takes a fifth."""
    with Image.open(path) as image:
        content, kind = path.read_bytes(), "png"
        if path.stem in GALLERIES:
            stream, kind = io.BytesIO(), "jpeg"
            image.convert("RGB").save(stream, "JPEG", quality=QUALITY)
            content = stream.getvalue()
        return {
            "data": f"data:image/{kind};base64,{base64.b64encode(content).decode()}",
            "width": image.width,
            "height": image.height,
        }
