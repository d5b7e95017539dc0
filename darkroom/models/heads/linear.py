"""What the linear heads share: one layer, and the penalty C as their knob."""

from typing import Any

import numpy as np
from pydantic import Field

from darkroom.core.params import Positive, Section
from darkroom.models.heads.base import Classical, Settings


class PenaltySettings(Section):
    """Keys of `train.head` of the heads with a penalty."""

    c: list[Positive] = Field([0.3, 1.0, 3.0, 10.0, 30.0], alias="C", min_length=1, max_length=100)


class Linear(Classical):
    """One dense layer."""

    settings = PenaltySettings
    knob = "C"

    def build(self, settings: Settings, classes: int, x: Any) -> Any:
        """The layer."""
        import keras

        return keras.layers.Dense(classes, name="classifier")(x)


def columns(coefficients: np.ndarray, intercepts: np.ndarray) -> list[np.ndarray]:
    """scikit-learn's coefficients (scores, n) and intercepts as weights (n, classes) and (classes,) of a dense layer.

    For two classes scikit-learn has a single score, that of the second.
    """
    kernel = coefficients.T
    if kernel.shape[1] == 1:
        return [kernel * [0.0, 1.0], intercepts * [0.0, 1.0]]
    return [kernel, intercepts]
