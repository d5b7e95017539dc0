"""The predictions of a model on a split."""

from typing import NamedTuple

import numpy as np

from darkroom.models.classifier import Classifier


class Predictions(NamedTuple):
    """The probabilities that a model gives the pictures of a split, in float64, each row adding up to 1."""

    paths: list[str]
    labels: np.ndarray  # class numbers (pictures,)
    uncalibrated: np.ndarray  # (pictures, classes), at temperature 1
    probabilities: np.ndarray  # (pictures, classes)

    @property
    def predicted(self) -> np.ndarray:
        """The number of the most probable class (pictures,)."""
        return self.probabilities.argmax(axis=1)


def predict(model: Classifier, part: str) -> Predictions:
    """Classify the pictures of a split.

    The softmax is that of the exported model, in float32, so that metrics describe the probabilities that users get.
    """
    from scipy.special import softmax

    inputs = model.inputs(part)
    logits = model.logits(inputs)
    uncalibrated, probabilities = (
        softmax(logits / np.float32(temperature), axis=1).astype(np.float64)
        for temperature in (1, model.spec.temperature)
    )
    return Predictions(
        inputs.paths,
        inputs.numbers(model.spec.classes),
        uncalibrated / uncalibrated.sum(axis=1, keepdims=True),
        probabilities / probabilities.sum(axis=1, keepdims=True),
    )
