"""Every head on the features that `extract` wrote: its accuracy and log loss on validation, its time, its size.

    python -m benchmarks.heads [TYPE…]

The test split is not read. Seconds are also given in units of the time that reading the features and predicting them
with a linear head takes in the same run.
"""

import sys
import tempfile
import time
from pathlib import Path

from darkroom.core import runtime
from darkroom.core.model_spec import BackboneSpec
from darkroom.core.paths import EXTRACT_REPORT, FEATURES
from darkroom.models.inputs import Features
from darkroom.pipeline import params
from darkroom.train.calibration import fit_temperature, log_loss
from darkroom.train.params import Params


def main() -> None:
    """Print a row of a Markdown table for each head."""
    runtime.prepare(42)
    from darkroom.models import forward, head_model, heads
    from darkroom.train.features import fit_head
    from darkroom.train.loop import Session

    backbone = BackboneSpec.model_validate_json(EXTRACT_REPORT.read_bytes())
    rows, val = (Features(FEATURES, part, backbone.layers) for part in ("train", "val"))
    classes = sorted(set(rows.labels))
    section = params.current().train.model_dump(by_alias=True)
    once = {"type": "logistic", "prepare": None}
    linear = head_model.build(once, rows.rows(slice(0, 1)).shape[1], len(classes))
    started = time.perf_counter()
    forward.run(linear, rows)
    unit = time.perf_counter() - started
    print(f"{len(rows):,} training and {len(val):,} validation rows of {backbone.features:,}; unit {unit:.2f} s\n")
    print("| head | chosen | accuracy (val) | log loss (val) | seconds | units | MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in sys.argv[1:] or heads.registered():
        settings = Params(**{**section, "head": {**section["head"], "type": kind}})
        runtime.prepare(42)
        with tempfile.TemporaryDirectory() as folder:
            session = Session(42, Path(folder), lambda *_: None)
            started = time.perf_counter()
            fitted, head, history = fit_head(settings, rows, val, classes, session)
            seconds = time.perf_counter() - started
        logits, labels = forward.run(head, val), val.numbers(classes)
        loss = log_loss(logits / fit_temperature(logits, labels), labels)
        right = float((logits.argmax(axis=1) == labels).mean())
        with tempfile.TemporaryDirectory() as folder:
            head.save_weights(Path(folder) / "head.weights.h5")
            size = (Path(folder) / "head.weights.h5").stat().st_size / 1e6
        value = next(iter(fitted["fitted"].items())) if "fitted" in fitted else ("epochs", len(history["loss"]))
        print(
            f"| {kind} | {value[0]} {value[1]} | {right:.4f} | {loss:.4f} | {seconds:.1f} | {seconds / unit:.0f} | "
            f"{size:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
