"""The frozen part of a model: raw RGB pixels of any size in, features of a pretrained network out.

Resizing and the network's own pre-processing are layers of it, so that extraction, evaluation, the exported model and
a prediction do the same to every pixel.
"""

import os
import socket
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from stages.common import mirrors
from stages.common.errors import StageError

SECONDS_TO_ANSWER = 10.0


@keras.saving.register_keras_serializable("darkroom")
class Resize(keras.layers.Layer):
    """Bilinear resizing with antialiasing: (batch, height, width, 3) of any numbers to float32 of `size`.

    The same as `tf.image.resize(antialias=True)`, written as two products with interpolation matrices, because that
    operation exists neither in ONNX nor in LiteRT.
    """

    def __init__(self, size: tuple[int, int], **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.size = size

    def call(self, pixels: Any) -> Any:
        """Resize rows, then columns."""
        pixels = ops.cast(pixels, "float32")
        rows = self._matrix(ops.shape(pixels)[1], self.size[0])
        columns = self._matrix(ops.shape(pixels)[2], self.size[1])
        return ops.einsum("qw,bpwc->bpqc", columns, ops.einsum("ph,bhwc->bpwc", rows, pixels))

    @staticmethod
    def _matrix(old: Any, new: int) -> Any:
        """(new, old) weights of a triangle filter as wide as the scale, each row adding up to 1."""
        scale = ops.cast(old, "float32") / new
        centres = (ops.arange(new, dtype="float32") + 0.5) * scale - 0.5
        distance = ops.abs(ops.cast(ops.arange(old), "float32")[None, :] - centres[:, None])
        weights = ops.relu(1 - distance / ops.maximum(scale, 1.0))
        return weights / ops.sum(weights, axis=1, keepdims=True)

    def get_config(self) -> dict[str, Any]:
        """What it takes to build the layer again."""
        return {**super().get_config(), "size": self.size}

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, height, width, channels) after resizing."""
        return (input_shape[0], *self.size, input_shape[3])


@keras.saving.register_keras_serializable("darkroom")
class Preprocess(keras.layers.Layer):
    """The pre-processing that belongs to a network of keras.applications; pixels from 0 to 255 in."""

    def __init__(self, network: str, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.network = network

    def call(self, pixels: Any) -> Any:
        """Apply the network's own `preprocess_input`."""
        module = sys.modules[getattr(keras.applications, self.network).__module__]
        return module.preprocess_input(pixels, data_format="channels_last")

    def get_config(self) -> dict[str, Any]:
        """What it takes to build the layer again."""
        return {**super().get_config(), "network": self.network}


def build(
    network: str,
    image_size: tuple[int, int],
    layers: list[str],
    pooling: str,
    precision: str = "float32",
    weights: str = "random",
) -> keras.Model:
    """A network of keras.applications up to the named layers.

    Args:
        network: its name there.
        image_size: height and width to which pictures are resized.
        layers: whose outputs are the features.
        pooling: avg, max or flatten.
        precision: a dtype policy.
        weights: random, to be set or loaded by the caller, or imagenet.

    Returns:
        A model from pixels (batch, height, width, 3), 0 to 255, to a dictionary: layer name to float32 features of
        shape (batch, n).

    Raises:
        StageError: no such network or layer, or the pictures are too small for it, or its weights are out of reach.
    """
    if network not in names():
        raise StageError(
            f"extract.backbone {network} is not in keras.applications: choose one of {', '.join(names())}."
        )
    whole = _whole(network, image_size, precision)
    known = [layer.name for layer in whole.layers[1:]]
    for layer in layers:
        if layer not in known:
            raise StageError(f"extract.layers: {network} has no layer {layer}; it has {', '.join(known)}.")
    if weights == "imagenet":
        whole.set_weights(_imagenet(network, image_size))
    trunk = keras.Model(whole.input, [whole.get_layer(layer).output for layer in layers], name="trunk")
    pixels = keras.Input((None, None, 3), name="pixels")
    prepared = Preprocess(network, name="preprocess")(Resize(image_size, name="resize")(pixels))
    outputs = trunk(prepared)
    return keras.Model(pixels, {layer: _pool(output, pooling) for layer, output in zip(layers, outputs, strict=True)})


def names() -> list[str]:
    """The networks of keras.applications."""
    return sorted(name for name in dir(keras.applications) if name[0].isupper())


def _pool(maps: Any, pooling: str) -> Any:
    """(batch, height, width, channels) in any precision to float32 (batch, n)."""
    kinds = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
    return kinds.get(pooling, keras.layers.Flatten)(dtype="float32")(maps)


def _whole(network: str, image_size: tuple[int, int], precision: str) -> keras.Model:
    """The network without its classifier, with random weights."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return getattr(keras.applications, network)(include_top=False, weights=None, input_shape=(*image_size, 3))
    except ValueError as error:
        said = " ".join(str(error).split())
        raise StageError(f"extract.image_size {list(image_size)} does not suit {network} ({said}).") from None
    finally:
        keras.config.set_dtype_policy(before)


def _imagenet(network: str, image_size: tuple[int, int]) -> list[np.ndarray]:
    """ImageNet weights in the order of the network's own: Keras', or for VGG16 a mirror's where Keras' host is silent.

    Raises:
        StageError: they are to be had from neither.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_TO_ANSWER)
    try:
        make = getattr(keras.applications, network)
        return make(include_top=False, weights="imagenet", input_shape=(*image_size, 3)).get_weights()
    except Exception as error:  # Keras raises a plain Exception when a download fails
        if network != "VGG16":
            said = " ".join(str(error).split())
            raise StageError(
                f"ImageNet weights of {network} cannot be reached ({said}): set extract.weights to random, or "
                "extract.backbone to VGG16, whose weights a mirror has."
            ) from None
    finally:
        socket.setdefaulttimeout(before)
    keras_home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    return mirrors.vgg16_arrays(keras_home / "models")
