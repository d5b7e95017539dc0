"""A head as a Keras model: features are prepared, then classified by the layers of its type."""

import itertools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from darkroom.models import heads
from darkroom.models.forward import chunks
from darkroom.models.heads.layers import SignedRoot
from darkroom.models.inputs import Inputs

LEAST_VARIANCE = 1e-4  # of a feature, as a share of the mean variance of all features


def _unit_length(x: Any, widths: list[int]) -> Any:
    """Scale the features of each layer to length 1, so that those with large values do not drown the others."""
    if len(widths) == 1:
        return keras.layers.UnitNormalization(name="l2")(x)
    parts = keras.ops.split(x, list(itertools.accumulate(widths))[:-1], axis=-1)
    scaled = [keras.layers.UnitNormalization(name=f"l2_{number}")(part) for number, part in enumerate(parts, start=1)]
    return keras.layers.Concatenate(name="l2")(scaled)


STEPS: dict[str, Any] = {
    "sqrt": lambda x, _: SignedRoot(name="sqrt")(x),
    "l2": _unit_length,
    "each": lambda x, _: keras.layers.Normalization(name="each")(x),
    # One mean and one variance for all features: a scale for each would blow up those that hardly vary in training.
    "one": lambda x, _: keras.layers.Normalization(axis=None, name="one")(x),
}


def build(settings: dict[str, Any], features: int, classes: int, prepared: keras.Model | None = None) -> keras.Model:
    """A head with untrained weights: features (batch, features) to float32 logits (batch, classes).

    Args:
        settings: section `train.head` of params.yaml; for a classical head with `fitted`, the outcome of its fit; with
            `widths`, the numbers of features of several layers.
        features: number of features of a row.
        classes: number of classes.
        prepared: the preparation (see `prepare`) if it exists already.
    """
    prepared = prepared or prepare(settings, features)
    layers = heads.registered()[settings["type"]]
    return keras.Model(prepared.input, layers.build(settings, classes, prepared.output), name="head")


def prepare(settings: dict[str, Any], features: int) -> keras.Model:
    """The first part of a head: features (batch, features) to prepared features of the same shape."""
    inputs = keras.Input((features,), name="features")
    x = keras.layers.Identity(name="as_they_are")(inputs)
    steps = settings["prepare"]
    for step in heads.registered()[settings["type"]].prepare if steps is None else steps:
        x = STEPS[step](x, settings.get("widths", [features]))
    return keras.Model(inputs, x)


def fit_scale(model: keras.Model, features: Inputs) -> None:
    """Fit the means and variances of a head, or of its preparation, to the training features, in chunks."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            data = tf.data.Dataset.from_generator(
                lambda: (features.rows(rows) for rows in chunks(len(features), model.input_shape)),
                output_signature=tf.TensorSpec((None, model.input_shape[1]), tf.float32),
            )
            layer.adapt(data.map(keras.Model(model.input, layer.input)))
            mean, variance, *count = layer.get_weights()
            # A feature that hardly varies in training must not blow up when it does later.
            layer.set_weights([mean, np.maximum(variance, LEAST_VARIANCE * variance.mean()), *count])
            layer.finalize_state()
