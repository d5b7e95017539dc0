"""Every head on the features that `extract` wrote: its accuracy and log loss on validation, its time, its size.

    python -m benchmarks.heads [TYPE…] [--rounds 1] [--json FILE]

The test split is not read. Seconds are the median of the rounds; they are also given in units of the time that reading
the features and predicting them with a linear head takes in the same run.
"""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import rounds
from benchmarks.rounds import Figures, Way
from darkroom.core import runtime
from darkroom.core.model_spec import BackboneSpec
from darkroom.core.paths import EXTRACT_REPORT, FEATURES
from darkroom.models.inputs import Features
from darkroom.pipeline import params
from darkroom.train.calibration import fit_temperature, log_loss
from darkroom.train.params import Params

UNIT = "unit"


class Fit:
    """The training of a head, which can be run again and again; `result` is what it gave last."""

    def __init__(self, settings: Params, rows: Features, val: Features, classes: list[str]) -> None:
        self.settings, self.rows, self.val, self.classes = settings, rows, val, classes
        self.result: Any = None

    def __call__(self) -> None:
        """Train the head from the start."""
        from darkroom.train.features import fit_head
        from darkroom.train.loop import Session

        runtime.prepare(42)
        with tempfile.TemporaryDirectory() as folder:
            session = Session(42, Path(folder), lambda *_: None)
            self.result = fit_head(self.settings, self.rows, self.val, self.classes, session)

    def figures(self) -> tuple[str, float, float, float]:
        """The value that was chosen, accuracy and log loss on validation, and MB."""
        from darkroom.models import forward

        fitted, head, history = self.result
        logits, labels = forward.run(head, self.val), self.val.numbers(self.classes)
        loss = log_loss(logits / fit_temperature(logits, labels), labels)
        with tempfile.TemporaryDirectory() as folder:
            head.save_weights(Path(folder) / "head.weights.h5")
            size = (Path(folder) / "head.weights.h5").stat().st_size / 1e6
        name, value = next(iter(fitted["fitted"].items())) if "fitted" in fitted else ("epochs", len(history["loss"]))
        return f"{name} {value}", float((logits.argmax(axis=1) == labels).mean()), loss, size


def main() -> None:
    """Print a row of a Markdown table for each head."""
    parser = rounds.parser(__doc__, rounds=1)
    parser.add_argument("types", nargs="*", metavar="TYPE")
    arguments = parser.parse_args()
    runtime.prepare(42)
    from darkroom.models import forward, head_model, heads

    backbone = BackboneSpec.load(EXTRACT_REPORT)
    rows, val = (Features(FEATURES, part, backbone.layers) for part in ("train", "val"))
    classes = sorted(set(rows.labels))
    section = params.current().train.model_dump(by_alias=True)
    linear = head_model.build({"type": "logistic", "prepare": None}, backbone.features or 0, len(classes))
    fits = {
        kind: Fit(Params(**{**section, "head": {**section["head"], "type": kind}}), rows, val, classes)
        for kind in arguments.types or heads.registered()
    }
    ways: dict[str, Way] = {UNIT: lambda: forward.run(linear, rows), **fits}
    figures: Figures = rounds.measure(ways, arguments.rounds, warm_up=False)
    seconds = rounds.medians(figures)
    print(f"{len(rows):,} training and {len(val):,} validation rows of {backbone.features:,}; ", end="")
    print(f"unit {seconds[UNIT]:.2f} s, median of {arguments.rounds} rounds\n")
    rounds.header("head", "chosen", "accuracy (val)", "log loss (val)", "seconds", "units", "MB")
    for kind, fit in fits.items():
        chosen, right, loss, size = fit.figures()
        time = seconds[kind]
        units = time / seconds[UNIT]
        rounds.row(kind, chosen, f"{right:.4f}", f"{loss:.4f}", f"{time:.1f}", f"{units:.0f}", f"{size:.1f}")
    rounds.save(arguments.json, figures)


if __name__ == "__main__":
    main()
