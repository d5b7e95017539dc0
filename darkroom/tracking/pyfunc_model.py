"""The exported model as MLflow serves it: picture files in, labels and probabilities out, as `predict` gives them.

MLflow stores this file with the model and runs it, so that nothing is pickled.
"""

import io
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException
from mlflow.pyfunc import scoring_server

from darkroom.core.errors import UserError
from darkroom.inference import formats, payload
from darkroom.inference.predictor import classify


class PictureClassifier(mlflow.pyfunc.PythonModel):
    """Decodes and classifies pictures; the artifact `exports` is a folder with one exported model and its classes."""

    def load_context(self, context: Any) -> None:
        """Load the model once; whoever serves it trusts it, since its code, such as this file, runs."""
        self.exported = formats.load(formats.locate(Path(context.artifacts["exports"])), trust=True)
        scoring_server.invocations = answer

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify pictures.

        Args:
            context: MLflow's; not used.
            model_input: one column `image`, each row the bytes of a picture file, or their base64.
            params: MLflow's; not used.

        Returns:
            A row for each picture: `label`, its `probability`, and `probabilities`, a dict from each class to its own.

        Raises:
            MlflowException: pictures that cannot be read, by row (HTTP 400).
        """
        try:
            pictures = payload.decoded(list(model_input[payload.COLUMN]))
        except UserError as error:
            raise refusal(error) from None
        results = [result for _, result in classify(self.exported, pictures)]
        errors = [f"row {row}: {result}" for row, result in enumerate(results) if not isinstance(result, np.ndarray)]
        if errors:
            raise refusal(f"Unreadable pictures: {payload.listing(errors)}")
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


def refusal(reason: object) -> MlflowException:
    """What MLflow's server answers with status 400."""
    return MlflowException(f"{reason}.", error_code=INVALID_PARAMETER_VALUE)


def answer(body: bytes, content_type: str | None, model: Any, _: Any) -> scoring_server.InvocationsResponse:
    """Answer a request to MLflow's server, in place of its own function.

    That one takes fewer shapes of requests, and its errors repeat the request and show stack traces.

    Raises:
        MlflowException: one sentence (HTTP 400).
    """
    try:
        pictures = payload.pictures(body, content_type or "")
    except UserError as error:
        raise refusal(error) from None
    table = model.unwrap_python_model().predict(None, pd.DataFrame({payload.COLUMN: pictures}))
    text = io.StringIO()
    scoring_server.predictions_to_json(table, text)
    return scoring_server.InvocationsResponse(text.getvalue(), 200, payload.JSON)


mlflow.models.set_model(PictureClassifier())
