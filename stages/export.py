"""Export the model with its pre-processing inside, check every format against Keras on real test pictures, and write a
model card.

Reads   models, data/split, reports/ of the stages before
Writes  exports/ (a file or folder for each format, classes.json, MODEL_CARD.md), reports/export.json
Params  base.seed, export
"""

import re
import time
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from stages.common import hardware, seeds
from stages.common.exports import formats, parity
from stages.common.files import read_csv, whole_folder, write_json, write_text
from stages.common.models.classifier import Classifier, digest
from stages.common.params import Base, Section
from stages.common.paths import EXPORT_REPORT, EXPORTED_CLASSES, EXPORTS, MODEL_CARD, MODELS, PREDICTIONS
from stages.common.progress import progress
from stages.common.stage import run
from stages.common.tracking import tracking


class Params(Section):
    """Section `export` of params.yaml."""

    formats: list[Literal["keras", "saved_model", "onnx", "litert", "litert_int8"]] = Field(min_length=1)
    check_pictures: int = Field(ge=1)
    register_as: str | None = Field(alias="register", min_length=1)

    @field_validator("register_as")
    @classmethod
    def _plain(cls, name: str | None) -> str | None:
        # MLflow's addresses and queries are put together from it.
        if name is not None and not re.fullmatch(r"[A-Za-z0-9 _.-]+", name):
            raise ValueError("a name may have letters, digits, spaces, _, . and - only")
        return name

    @field_validator("formats")
    @classmethod
    def _once(cls, kinds: list[str]) -> list[str]:
        if len(set(kinds)) < len(kinds):
            raise ValueError("each format may stand there once")
        return kinds


def main(base: Base, params: Params) -> None:
    """Write every format, compare, describe, and add all of it to the model's run."""
    started = time.monotonic()
    hardware.prepare(base.seed)
    from stages.common.exports import conversion, model_card

    model = Classifier.load(MODELS)
    whole = model.whole()
    conversion.refuse_too_large(params.formats, whole, f"this model (head {kind_of_head(model)})")
    rows = sample(read_csv(PREDICTIONS), params.check_pictures, base.seed)
    with whole_folder(EXPORTS) as folder:
        writer = conversion.Conversion(whole, model.classes)
        files: dict[str, Path] = {
            kind: writer.write(kind, folder)
            for kind in progress(params.formats, len(params.formats), "writing", "formats")
        }
        exported: dict[str, formats.Exported] = {kind: formats.load(path) for kind, path in files.items()}
        reports, differences, milliseconds = parity.compare(exported, whole, rows, kind_of_head(model))
        for kind, path in files.items():
            reports[kind]["bytes"] = size(path)
        write_json(folder / EXPORTED_CLASSES.name, model.classes)
        write_text(folder / MODEL_CARD.name, model_card.render(model, reports))
    write_json(EXPORT_REPORT, {"model_sha256": digest(MODELS), **reports})
    tracking.excused(lambda: tracking.log_export(params.register_as, time.monotonic() - started, milliseconds))
    for kind, report in reports.items():
        print(
            f"export: {EXPORTS / formats.FILES[kind]}, {report['bytes'] / 1e6:.1f} MB, {milliseconds[kind]:.1f} ms a "
            f"picture; on {report['pictures']} test pictures {report['same_label']:.1%} of Keras' labels, "
            f"probabilities within {differences[kind]:.0e}"
        )


def kind_of_head(model: Classifier) -> str:
    """The head's type, or the name of a network from scratch."""
    return str(model.settings["head"].get("type") or model.settings["head"]["name"])


def sample(predictions: list[dict[str, str]], count: int, seed: int) -> list[dict[str, str]]:
    """Test pictures to compare on, drawn by the seed, in the order of the predictions."""
    chosen = seeds.stream(seed, "export").permutation(len(predictions))[:count]
    return [predictions[row] for row in sorted(chosen)]


def size(path: Path) -> int:
    """Bytes of a file, or of all in a folder."""
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


if __name__ == "__main__":
    run("export", main)
