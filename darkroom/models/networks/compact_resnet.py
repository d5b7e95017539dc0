"""A residual network for pictures of 28 to 96 pixels: few weights, and most of the work on small maps.

Three stages of pre-activated residual blocks (He et al., Identity Mappings in Deep Residual Networks, 2016), each on
maps of half the size and with twice the filters of the one before; squeeze and excitation (Hu et al., 2018) weighs the
channels of a block, and stochastic depth (Huang et al., 2016) leaves out blocks in training, later ones more often.
"""

from typing import Any

from keras import layers as kl

from darkroom.models.networks.base import BatchNorm, logits

BLOCKS = (1, 2, 2)  # of each stage
LARGE = 48  # pixels from which on the first convolution halves the size


def layers(x: Any, activation: str, classes: int, filters: int = 32, stochastic_depth: float = 0.0) -> Any:
    """Pixels (batch, height, width, channels) to logits (batch, classes).

    Args:
        x: pixels.
        activation: of all layers.
        classes: number of classes.
        filters: of the first stage.
        stochastic_depth: probability that the last block is left out; that of the others rises linearly up to it.
    """
    strides = 2 if min(x.shape[1:3]) >= LARGE else 1
    x = kl.Rescaling(1 / 127.5, -1, dtype="float32", name="scale")(x)
    x = kl.Conv2D(filters, 3, strides, padding="same", use_bias=False, name="stem")(x)
    number = 0
    for stage, blocks in enumerate(BLOCKS):
        for block in range(blocks):
            number += 1
            strides = 2 if stage and not block else 1
            rate = stochastic_depth * number / sum(BLOCKS)
            x = _block(x, str(number), activation, filters * 2**stage, strides, rate)
    x = kl.GlobalAveragePooling2D(name="mean")(_normal(x, "last", activation))
    return logits(kl.Dropout(0.2, name="dropout")(x), classes)


def _block(x: Any, name: str, activation: str, filters: int, strides: int, rate: float) -> Any:
    y = _normal(x, f"{name}_1", activation)
    if filters != x.shape[-1] or strides > 1:
        x = kl.AveragePooling2D(2, padding="same", name=f"shortcut_pool_{name}")(y) if strides > 1 else y
        x = kl.Conv2D(filters, 1, use_bias=False, name=f"shortcut_{name}")(x)
    y = kl.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=f"conv_{name}_1")(y)
    y = kl.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv_{name}_2")(
        _normal(y, f"{name}_2", activation)
    )
    weights = kl.GlobalAveragePooling2D(keepdims=True, name=f"squeeze_{name}")(y)
    weights = kl.Conv2D(max(1, filters // 8), 1, activation=activation, name=f"excite_{name}_1")(weights)
    y = kl.Multiply(name=f"excited_{name}")(
        [y, kl.Conv2D(filters, 1, activation="sigmoid", name=f"excite_{name}_2")(weights)]
    )
    y = kl.Dropout(rate, noise_shape=(None, 1, 1, 1), name=f"depth_{name}")(y)
    return kl.Add(name=f"add_{name}")([x, y])


def _normal(x: Any, name: str, activation: str) -> Any:
    return kl.Activation(activation, name=f"activation_{name}")(BatchNorm(name=f"batch_norm_{name}")(x))
