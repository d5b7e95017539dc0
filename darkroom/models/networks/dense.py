"""Dense layers only: the baseline without convolutions."""

from typing import Any

from keras import layers as kl

from darkroom.models.networks.base import logits


def layers(x: Any, activation: str, classes: int) -> Any:
    """Pixels (batch, height, width, channels) to logits (batch, classes)."""
    x = kl.Flatten(name="flatten")(kl.Rescaling(1 / 255, dtype="float32", name="scale")(x))
    for number, units in enumerate((500, 50), start=1):
        x = kl.Dense(units, activation=activation, name=f"dense_{number}")(x)
    return logits(x, classes)
