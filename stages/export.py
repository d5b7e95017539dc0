"""Export the model with its pre-processing inside, and check it against Keras on real test pictures.

Reads   models, reports/metrics.json, reports/predictions.csv, data/split/test (a sample)
Writes  exports/saved_model/, exports/classes.json, reports/export.json
Params  base.seed, export
"""

import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from stages.common import hardware, seeds, tracking
from stages.common.classifier import Classifier, digest
from stages.common.errors import StageError
from stages.common.files import read_csv, whole_folder, write_json
from stages.common.params import Base, Section
from stages.common.paths import EXPORT_REPORT, EXPORTED_CLASSES, MODELS, PREDICTIONS, SAVED_MODEL
from stages.common.pictures import decode
from stages.common.progress import progress
from stages.common.stage import run

# Both run the same float32 arithmetic; they may differ in its order.
LARGEST_DIFFERENCE = 1e-4


class Params(Section):
    """Section `export` of params.yaml."""

    formats: list[Literal["saved_model"]] = Field(min_length=1, max_length=1)
    check_pictures: int = Field(ge=1)
    register_as: str | None = Field(alias="register", min_length=1)


def main(base: Base, params: Params) -> None:
    """Write the SavedModel, compare, and add it to the model's run."""
    started = time.monotonic()
    hardware.prepare(base.seed)
    from stages.common import saved_model

    model = Classifier.load(MODELS)
    whole = model.whole()
    rows = sample(read_csv(PREDICTIONS), params.check_pictures, base.seed)
    with whole_folder(SAVED_MODEL) as folder:
        saved_model.save(saved_model.PixelsToProbabilities(whole), str(folder))
        report = compare(folder, whole, rows, model.classes)
    write_json(EXPORTED_CLASSES, model.classes)
    write_json(EXPORT_REPORT, {"model_sha256": digest(MODELS), "saved_model": report})
    tracking.excused(lambda: tracking.log_export(params.register_as, time.monotonic() - started))
    print(
        f"export: {SAVED_MODEL} gives what Keras gives on {report['pictures']} test pictures "
        f"(largest difference of a probability {report['largest_difference']:.0e})"
    )


def sample(predictions: list[dict[str, str]], count: int, seed: int) -> list[dict[str, str]]:
    """Test pictures to compare on, drawn by the seed, in the order of the predictions."""
    chosen = seeds.stream(seed, "export").permutation(len(predictions))[:count]
    return [predictions[row] for row in sorted(chosen)]


def compare(folder: Path, whole: Any, rows: list[dict[str, str]], classes: list[str]) -> dict[str, Any]:
    """What the SavedModel and Keras say of the same pictures, and how often that is what the evaluation said.

    The evaluation may have used features of reduced precision, the export is float32: hence `same_as_evaluated`, a
    share, is reported and not gated.

    Raises:
        StageError: the SavedModel differs from Keras by more than `LARGEST_DIFFERENCE`.
    """
    import tensorflow as tf

    exported = tf.saved_model.load(str(folder))
    largest, same = 0.0, 0
    for row in progress(rows, len(rows), "comparing"):
        pixels = decode(Path(row["path"]))[None]
        probabilities = exported(pixels).numpy()[0]
        largest = max(largest, float(np.abs(probabilities - whole(pixels).numpy()[0]).max()))
        same += classes[int(probabilities.argmax())] == row["predicted"]
    if not largest <= LARGEST_DIFFERENCE:
        raise StageError(f"the SavedModel differs from Keras by {largest:.1e} in a probability: it is not written.")
    return {"pictures": len(rows), "largest_difference": round(largest, 6), "same_as_evaluated": same / len(rows)}


if __name__ == "__main__":
    run("export", main)
