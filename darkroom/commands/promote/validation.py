"""A registered model on the validation pictures, and its test metrics from MLflow."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from darkroom.core.errors import UserError
from darkroom.core.metric_table import Estimate
from darkroom.core.terminal import progress
from darkroom.evaluate import statistics
from darkroom.images.folders import Picture
from darkroom.tracking import registry, tags, training_record
from darkroom.tracking.store import one_line

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

BATCH = 256  # pictures in a table for MLflow


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
    """Load a version as MLflow serves it, and classify pictures.

    Raises:
        UserError: it cannot be loaded, is not a Darkroom model, or lacks classes of the pictures.
    """
    import mlflow
    import pandas as pd

    batches = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
    rows: list[dict[str, float]] = []  # class to probability, for each picture
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = mlflow.pyfunc.load_model(f"models:/{version.name}/{version.version}")
            for batch in progress(batches, len(pictures), f"version {version.version}", step=BATCH):
                images = pd.DataFrame({"image": [picture.path.read_bytes() for picture in batch]})
                rows += list(model.predict(images)["probabilities"])
    except Exception as error:  # whatever a store on a network, or a model of another kind, may raise
        raise UserError(
            f"version {version.version} of {version.name} cannot be evaluated ({one_line(error)})."
        ) from None
    classes = list(rows[0])
    if unknown := sorted({picture.label for picture in pictures} - set(classes)):
        raise UserError(
            f"version {version.version} of {version.name} has the classes {', '.join(classes)}, but there are pictures "
            f"of {', '.join(unknown)}."
        )
    labelled = list(zip(rows, (picture.label for picture in pictures), strict=True))
    run = registry.get_run(str(version.run_id))
    return Validated(
        title,
        registry.evaluation_run_of(run),
        registry.training_run_of(run).data.tags.get(tags.SPLIT_MD5),
        classes,
        np.array([max(row, key=row.__getitem__) == label for row, label in labelled]),
        statistics.log_losses(np.array([row[label] for row, label in labelled])),
    )
