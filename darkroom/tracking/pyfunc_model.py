"""The exported model as MLflow serves it: picture files in, labels and probabilities out, as `predict` gives them.

MLflow stores this file with the model and runs it, so that nothing is pickled.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException

from darkroom.inference import formats
from darkroom.inference.predictor import classify


class PictureClassifier(mlflow.pyfunc.PythonModel):
    """Decodes and classifies pictures; the artifact `exports` is a folder with one exported model and its classes."""

    def load_context(self, context: Any) -> None:
        """Load the model once."""
        self.exported = formats.load(formats.locate(Path(context.artifacts["exports"])))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify pictures.

        Args:
            context: MLflow's; not used.
            model_input: one column `image`, each row the bytes of a picture file (in JSON their base64).
            params: MLflow's; not used.

        Returns:
            A row for each picture: `label`, its `probability`, and `probabilities`, a dict from each class to its own.

        Raises:
            MlflowException: pictures that cannot be read, by row (HTTP 400).
        """
        results = [result for _, result in classify(self.exported, list(model_input["image"]))]
        errors = [f"row {row}: {result}" for row, result in enumerate(results) if not isinstance(result, np.ndarray)]
        if errors:
            raise MlflowException(f"Unreadable pictures: {'; '.join(errors)}.", error_code=INVALID_PARAMETER_VALUE)
        rows = np.array(results).astype(float)  # JSON has no float32
        tables = [dict(zip(self.exported.classes, row.tolist(), strict=True)) for row in rows]
        labels = [max(table, key=table.__getitem__) for table in tables]
        return pd.DataFrame(
            {
                "label": labels,
                "probability": [table[label] for label, table in zip(labels, tables, strict=True)],
                "probabilities": tables,
            }
        )


mlflow.models.set_model(PictureClassifier())
