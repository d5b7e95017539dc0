"""A registered model on validation pictures, beside what its run knows of the test."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from darkroom.commands.compare import paired
from darkroom.commands.compare.paired import Interval
from darkroom.core.errors import UserError
from darkroom.core.terminal import progress
from darkroom.images.folders import Picture
from darkroom.tracking import registry, runs

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

AT_ONCE = 256  # pictures that MLflow gets in one table


@dataclass(frozen=True)
class Validated:
    """A registered version on the validation pictures."""

    title: str
    run: "Run"  # that holds its evaluation
    split: str | None  # md5 of the split that it was trained on
    classes: list[str]
    right: np.ndarray
    losses: np.ndarray

    def validation(self) -> str:
        """Its figures on val."""
        accuracy = paired.accuracy(int(self.right.sum()), len(self.right))
        return f"  {self.title}  accuracy {accuracy.text()}; log loss {self.losses.mean():.4f}"

    def test(self) -> str:
        """Its figures on test, from its run."""
        held = self.run.data.metrics
        if "test_accuracy" not in held:
            return f"  {self.title}  its run holds no figures"
        accuracy = Interval(*(held[f"test_accuracy{end}"] for end in ("", "_low", "_high")))
        return (
            f"  {self.title}  accuracy {accuracy.text()}; log loss {held['test_log_loss']:.4f}; "
            f"{held['test_n']:,.0f} pictures"
        )

    def tested_on(self) -> str | None:
        """What MLflow knows its test set by: a hash of the pictures' names and labels."""
        contexts = {tag.value: item.dataset.digest for item in self.run.inputs.dataset_inputs for tag in item.tags}
        return contexts.get(runs.DATASET_SPLITS["test"])


def validated(version: "ModelVersion", title: str, rows: Sequence[Picture]) -> Validated:
    """Load a version as MLflow serves it and ask it about pictures.

    Raises:
        UserError: MLflow does not give it, it is no model of this kind, or its classes are not the pictures'.
    """
    import mlflow
    import pandas as pd

    chunks = [rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = mlflow.pyfunc.load_model(f"models:/{version.name}/{version.version}")
            tables: list[dict[str, float]] = []
            for chunk in progress(chunks, len(rows), f"version {version.version}", each=AT_ONCE):
                images = pd.DataFrame({"image": [row.path.read_bytes() for row in chunk]})
                tables += list(model.predict(images)["probabilities"])
    except Exception as error:  # whatever a store on a network, or a model of another kind, may raise
        said = " ".join(str(error).split())[:300]
        raise UserError(f"version {version.version} of {version.name} cannot be measured ({said}).") from None
    classes, present = list(tables[0]), sorted({row.label for row in rows})
    if unknown := [label for label in present if label not in classes]:
        raise UserError(
            f"version {version.version} of {version.name} knows the classes {', '.join(classes)}, but not "
            f"{', '.join(unknown)}, of which there are pictures."
        )
    right = np.array([max(table, key=table.__getitem__) == row.label for table, row in zip(tables, rows, strict=True)])
    given = np.array([table[row.label] for table, row in zip(tables, rows, strict=True)])
    logged = registry.run_of(str(version.run_id))
    split = registry.trained_run(logged).data.tags.get(runs.SPLIT_MD5)
    return Validated(title, registry.evaluated_run(logged), split, classes, right, paired.losses(given))
