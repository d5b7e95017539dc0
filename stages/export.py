"""Export the model with its pre-processing inside, compare every format on real test pictures with what was evaluated,
and write a model card.

Reads   models, data/features, data/split, reports/ of the stages before
Writes  exports/ (a file or folder for each format, classes.json, MODEL_CARD.md, SHA256SUMS), reports/export.json
Params  base.seed, export
"""

import time
from pathlib import Path

from darkroom.core import outputs, reports, runtime, seeds
from darkroom.core.errors import UserError
from darkroom.core.files import whole_folder, write_json, write_text
from darkroom.core.hashing import sha256
from darkroom.core.model_spec import verified_sha256
from darkroom.core.params import Base
from darkroom.core.paths import (
    EXPORT_REPORT,
    EXPORTED_CLASSES,
    EXPORTS,
    METRICS,
    MODEL_CARD,
    MODELS,
    PREDICTIONS,
    SPLIT,
    SPLIT_REPORT,
)
from darkroom.export import parity
from darkroom.export.params import Params
from darkroom.images.folders import PARTS, labelled
from darkroom.inference import digests
from darkroom.inference.formats import FORMATS
from darkroom.models.classifier import Classifier
from darkroom.pipeline.script import run
from darkroom.tracking import failures, pipeline_log


def main(base: Base, params: Params) -> None:
    """Write every format, compare it with the evaluation, write the model card, and add all to the model's run."""
    started = time.monotonic()
    model_digest = verified_sha256()
    if reports.metrics()["model_sha256"] != model_digest:
        raise UserError(f"{METRICS} belongs to another model than {MODELS}: run `dvc repro evaluate`.")
    for read in (reports.dataset, reports.split, reports.augmentation, reports.training, reports.per_class):
        read()  # a damaged one is named before the work
    check_pictures()
    rows = sample(reports.predictions(), params.check_pictures, base.seed)
    runtime.prepare(base.seed)
    from darkroom.export import conversion, model_card

    model = Classifier.load(MODELS)
    whole, classes = model.whole(), list(model.spec.classes)
    conversion.require_room(params.formats, whole, f"this model (head {model.spec.head_type})")
    with whole_folder(EXPORTS) as folder:
        files = conversion.write(params.formats, whole, classes, folder)
        comparisons = parity.compare(files, parity.evaluated(model, rows), rows, model.spec.head_type)
        results = {name: {**comparisons[name].report, "bytes": size(path)} for name, path in files.items()}
        write_json(folder / EXPORTED_CLASSES.name, classes)
        write_text(folder / MODEL_CARD.name, model_card.render(model, results))
        digests.write(folder)
    own = {"model_sha256": model_digest, "sums_sha256": sha256(EXPORTS / digests.SUMS)}
    write_json(EXPORT_REPORT, {**own, **results})
    milliseconds = {name: comparison.milliseconds for name, comparison in comparisons.items()}
    failures.best_effort(lambda: pipeline_log.log_export(params.register_as, time.monotonic() - started, milliseconds))
    for name, report in results.items():
        print(
            f"export: {EXPORTS / FORMATS[name].file}, {report['bytes'] / 1e6:.1f} MB, {milliseconds[name]:.1f} ms a "
            f"picture; on {report['pictures']} test pictures {report['same_label']:.1%} of Keras' labels, "
            f"probabilities within {comparisons[name].difference:.0e}"
        )


def check_pictures() -> None:
    """Check that the tables list the pictures in data/split with their classes.

    Raises:
        UserError: one does not.
    """
    for table, path, parts, columns in (
        (reports.split(), SPLIT_REPORT, PARTS, ("picture", "class")),
        (reports.predictions(), PREDICTIONS, PARTS[-1:], ("path", "label")),
    ):
        pictures = {picture.path: picture.label for part in parts for picture in labelled(SPLIT / part)}
        rows = [[row[column] for column in columns] for row in table]
        if pictures != {SPLIT / name.removeprefix(f"{SPLIT}/"): label for name, label in rows}:
            raise outputs.damaged(path, f"it does not list the {len(pictures):,} pictures in {SPLIT}")


def sample(predictions: list[dict[str, str]], count: int, seed: int) -> list[dict[str, str]]:
    """Draw test pictures to compare on, and return them in the order of the predictions."""
    chosen = seeds.stream(seed, "export").permutation(len(predictions))[:count]
    return [predictions[row] for row in sorted(chosen)]


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


if __name__ == "__main__":
    run("export", main)
