"""Two wide convolutions and a dense layer, on pixels from 0 to 255 without scaling."""

from typing import Any

from keras import initializers
from keras import layers as kl

from darkroom.models.networks.base import logits


def layers(x: Any, activation: str, classes: int) -> Any:
    """Pixels (batch, height, width, channels) to logits (batch, classes)."""
    initial = {"kernel_initializer": initializers.RandomNormal(stddev=0.1), "bias_initializer": "ones"}
    for number, filters in enumerate((32, 64), start=1):
        x = kl.Conv2D(filters, 5, padding="same", activation=activation, name=f"conv_{number}", **initial)(x)
        x = kl.MaxPooling2D(name=f"pool_{number}")(x)
    x = kl.Dense(1024, activation=activation, name="dense", **initial)(kl.Flatten(name="flatten")(x))
    return logits(kl.Dropout(0.5, name="dropout")(x), classes, **initial)
