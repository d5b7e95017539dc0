"""A small VGGNet: two blocks of two convolutions, with batch norm after each activation."""

from typing import Any

from keras import layers as kl

from darkroom.models.networks.base import BatchNorm, logits


def layers(x: Any, activation: str, classes: int) -> Any:
    """Pixels (batch, height, width, channels) to logits (batch, classes)."""
    x = kl.Rescaling(1 / 255, dtype="float32", name="scale")(x)
    for block, filters in enumerate((32, 64), start=1):
        for number in (1, 2):
            x = kl.Conv2D(filters, 3, padding="same", name=f"conv_{block}_{number}")(x)
            x = kl.Activation(activation, name=f"activation_{block}_{number}")(x)
            x = BatchNorm(name=f"batch_norm_{block}_{number}")(x)
        x = kl.MaxPooling2D(name=f"pool_{block}")(x)
        x = kl.Dropout(0.25, name=f"dropout_{block}")(x)
    x = kl.Dense(512, name="dense")(kl.Flatten(name="flatten")(x))
    x = BatchNorm(name="batch_norm")(kl.Activation(activation, name="activation")(x))
    return logits(kl.Dropout(0.5, name="dropout")(x), classes)
