"""Two blocks of two convolutions with batch norm, then two large dense layers."""

from typing import Any

from keras import layers as kl

from darkroom.models.networks.base import BatchNorm, logits


def layers(x: Any, activation: str, classes: int) -> Any:
    """Pixels (batch, height, width, channels) to logits (batch, classes)."""
    x = kl.Rescaling(1 / 255, dtype="float32", name="scale")(x)
    for block, filters in enumerate((16, 32), start=1):
        for number in (1, 2):
            x = kl.Conv2D(filters, 3, activation=activation, name=f"conv_{block}_{number}")(x)
            x = BatchNorm(name=f"batch_norm_{block}_{number}")(x)
        x = kl.MaxPooling2D(name=f"pool_{block}")(x)
        x = kl.Dropout(0.25, name=f"dropout_{block}")(x)
    x = kl.Flatten(name="flatten")(x)
    for number, (units, dropout) in enumerate(((512, 0.25), (1024, 0.5)), start=1):
        x = kl.Dense(units, activation=activation, name=f"dense_{number}")(x)
        x = kl.Dropout(dropout, name=f"dense_dropout_{number}")(x)
    return logits(x, classes)
