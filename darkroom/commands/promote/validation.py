"""A registered model on the validation pictures, and its test metrics from MLflow."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from darkroom.core import runtime
from darkroom.core.errors import UserError, is_of_the_machine
from darkroom.core.metric_table import Estimate
from darkroom.core.paths import EXPORTS, MODELS
from darkroom.core.terminal import progress
from darkroom.evaluate import statistics
from darkroom.images.folders import Picture
from darkroom.inference import formats
from darkroom.inference.predictor import classify
from darkroom.models.classifier import Classifier
from darkroom.tracking import registry, tags, training_record
from darkroom.tracking.store import download

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class Validated:
    """The results of a registered version on the validation pictures."""

    title: str
    run: "Run"  # with its evaluation
    split: str | None  # md5 of the split it was trained on
    classes: list[str]
    right: np.ndarray  # whether each picture is classified correctly (pictures,)
    log_losses: np.ndarray  # (pictures,)

    def validation(self) -> str:
        """A line with its validation metrics."""
        accuracy = statistics.accuracy(int(self.right.sum()), len(self.right))
        return f"  {self.title}  accuracy {accuracy.text()}; log loss {self.log_losses.mean():.4f}"

    def test(self) -> str:
        """A line with its test metrics, from its run."""
        logged = self.run.data.metrics
        if "test_accuracy" not in logged:
            return f"  {self.title}  no metrics in its run"
        return (
            f"  {self.title}  accuracy {Estimate.of(logged, 'test_accuracy').text()}; "
            f"log loss {logged['test_log_loss']:.4f}; {logged['test_n']:,.0f} pictures"
        )

    def test_set(self) -> str | None:
        """MLflow's digest of its test set, over the names and labels of the pictures."""
        digests = {tag.value: item.dataset.digest for item in self.run.inputs.dataset_inputs for tag in item.tags}
        return digests.get(training_record.DATASET_CONTEXTS["test"])


def validate(version: "ModelVersion", title: str, pictures: Sequence[Picture]) -> Validated:
    """Download a version's files and classify pictures; none of the code that comes with them is run.

    Raises:
        UserError: it cannot be loaded, is not a Darkroom model, or lacks classes of the pictures.
    """
    name = f"version {version.version} of {version.name}"
    try:
        exported = load(download(f"models:/{version.name}/{version.version}") / "artifacts")
    except UserError as error:
        raise UserError(f"{name} cannot be evaluated: {error}") from None
    classes = exported.classes
    if unknown := sorted({picture.label for picture in pictures} - set(classes)):
        raise UserError(f"{name} has the classes {', '.join(classes)}, but there are pictures of {', '.join(unknown)}.")
    results = progress(classify(exported, [picture.path for picture in pictures]), len(pictures), name)
    rows = [result for _, result in results]
    for picture, row in zip(pictures, rows, strict=True):
        if isinstance(row, UserError):
            raise UserError(f"{name} cannot be evaluated: {picture.path}: {row}.")
    probabilities = np.array(rows).astype(float)
    labels = np.array([classes.index(picture.label) for picture in pictures])
    run = registry.get_run(str(version.run_id))
    return Validated(
        title,
        registry.evaluation_run_of(run),
        registry.training_run_of(run).data.tags.get(tags.SPLIT_MD5),
        classes,
        probabilities.argmax(axis=1) == labels,
        statistics.log_losses(probabilities[np.arange(len(labels)), labels]),
    )


def load(folder: Path) -> formats.Exported:
    """The model in the files that Darkroom logged: the export, or the model itself if opening that might run code.

    Raises:
        UserError: there is none.
    """
    if not folder.is_dir():
        raise UserError("it was not logged by Darkroom.")
    try:
        return formats.load(formats.locate(folder / EXPORTS))
    except formats.UntrustedError:
        pass
    try:
        runtime.prepare(0)
        model = Classifier.load(folder / MODELS)
        whole = model.whole()
    except Exception as error:  # Keras' readers raise all kinds of errors
        if is_of_the_machine(error):
            raise
        raise UserError(f"its model cannot be loaded ({' '.join(str(error).split())[:200]}).") from None
    return formats.Exported(list(model.spec.classes), lambda pixels: whole(pixels, training=False).numpy())
