"""What is trained on the features of a frozen backbone: features in, logits out."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from stages.common import seeds
from stages.common.features import Features


def build(settings: dict[str, Any], features: int, classes: int) -> keras.Model:
    """A dense head: scaled features, then hidden dense layers with relu, then logits; dropout before each.

    One mean and one variance for all features, part of the weights (see `fit_scale`): a scale for each would blow up
    those that hardly vary in training.
    """
    inputs = keras.Input((features,), name="features")
    x = keras.layers.Normalization(axis=None, name="scale")(inputs)
    for units in settings["hidden"]:
        x = keras.layers.Dropout(settings["dropout"])(x)
        x = keras.layers.Dense(units, activation="relu")(x)
    x = keras.layers.Dropout(settings["dropout"])(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x), name="head")


def fit_scale(head: keras.Model, features: Features) -> None:
    """Set the head's mean and variance to those of the training features, a part of them in memory at a time."""
    parts = tf.data.Dataset.from_generator(
        lambda: (features.rows(slice(start, start + 1024)) for start in range(0, len(features), 1024)),
        output_signature=tf.TensorSpec((None, head.input_shape[1]), tf.float32),
    )
    head.get_layer("scale").adapt(parts)


class Batches(keras.utils.PyDataset):
    """Training batches, shuffled anew each epoch by the seed and the epoch's number, read from disk as they come."""

    def __init__(self, features: Features, classes: list[str], size: int, seed: int) -> None:
        super().__init__()
        self.features, self.size, self.seed = features, size, seed
        self.numbers = features.numbers(classes)
        self.epoch = -1
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self.features) // self.size)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Features (batch, n) and class numbers (batch,)."""
        rows = np.sort(self.order[number * self.size : (number + 1) * self.size])
        return self.features.rows(rows), self.numbers[rows]

    def on_epoch_end(self) -> None:
        """Draw the next epoch's order."""
        self.epoch += 1
        self.order = seeds.stream(self.seed, "shuffle", self.epoch).permutation(len(self.features))
