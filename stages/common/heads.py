"""What is trained on the features of a frozen backbone: features in, logits out."""

from typing import Any

import keras
import numpy as np

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


def fit_scale(head: keras.Model, features: np.ndarray) -> None:
    """Set the head's mean and variance to those of the training features (pictures, n)."""
    head.get_layer("scale").adapt(features)


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
