"""Residual blocks that begin with batch norm (He et al., Identity Mappings in Deep Residual Networks, 2016).

Two blocks of 64 filters at half the size of the pictures, two of 128 at a quarter, then the mean over all places: few
weights, and most of the work on small maps.
"""

from typing import Any

from keras import layers as kl

from darkroom.models.networks.base import BatchNorm, logits


def layers(x: Any, activation: str, classes: int) -> Any:
    """Pixels (batch, height, width, channels) to logits (batch, classes)."""
    x = kl.Rescaling(1 / 127.5, -1, dtype="float32", name="scale")(x)
    x = kl.Conv2D(32, 3, padding="same", use_bias=False, name="stem")(x)
    x = kl.MaxPooling2D(name="stem_pool")(x)
    for block, (filters, strides) in enumerate(((64, 1), (64, 1), (128, 2), (128, 1)), start=1):
        y = _normal(x, f"{block}_1", activation)
        if filters != x.shape[-1]:
            x = kl.Conv2D(filters, 1, strides, use_bias=False, name=f"shortcut_{block}")(y)
        y = kl.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=f"conv_{block}_1")(y)
        y = _normal(y, f"{block}_2", activation)
        y = kl.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv_{block}_2")(y)
        x = kl.Add(name=f"add_{block}")([x, y])
    x = kl.GlobalAveragePooling2D(name="mean")(_normal(x, "last", activation))
    return logits(kl.Dropout(0.3, name="dropout")(x), classes)


def _normal(x: Any, name: str, activation: str) -> Any:
    return kl.Activation(activation, name=f"activation_{name}")(BatchNorm(name=f"batch_norm_{name}")(x))
