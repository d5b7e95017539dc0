"""A SavedModel that can be called: raw pixels of any size in, probabilities out."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


class PixelsToProbabilities(tf.Module):
    """Wraps a Keras model or a loaded SavedModel: uint8 (batch, any height, any width, 3) to (batch, classes)."""

    def __init__(self, model: Callable[[Any], Any]) -> None:
        super().__init__()
        self.model = model

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="pixels")])
    def __call__(self, pixels: Any) -> Any:
        """Probabilities of raw RGB pixels."""
        return self.model(pixels)


def save(module: PixelsToProbabilities, folder: str) -> None:
    """Write `module` with its one signature, `serving_default`."""
    tf.saved_model.save(module, folder, signatures={"serving_default": module.__call__})
