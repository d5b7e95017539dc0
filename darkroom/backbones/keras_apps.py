"""Networks of keras.applications, whole and in parts: raw RGB pixels of any size in, features of named layers out.

Resizing and the network's own pre-processing are layers, so that extraction, training, evaluation, the exported model
and a prediction do the same to every pixel.
"""

import sys
from typing import Any

import keras
from keras import ops
from keras.src.backend.common import global_state

from darkroom.core.errors import UserError


@keras.saving.register_keras_serializable("darkroom")
class Resize(keras.layers.Layer):
    """Bilinear resizing with antialiasing: (batch, height, width, 3) of any numbers to float32 of `size`.

    The same as `tf.image.resize(antialias=True)`, written as two products with interpolation matrices, because that
    operation exists neither in ONNX nor in LiteRT.
    """

    def __init__(self, size: tuple[int, int], **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
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
        super().__init__(**{"dtype": "float32", **kwargs})
        self.network = network

    def call(self, pixels: Any) -> Any:
        """Apply the network's own `preprocess_input`."""
        module = sys.modules[getattr(keras.applications, self.network).__module__]
        return module.preprocess_input(pixels, data_format="channels_last")

    def get_config(self) -> dict[str, Any]:
        """What it takes to build the layer again."""
        return {**super().get_config(), "network": self.network}


def names() -> list[str]:
    """The networks of keras.applications."""
    return sorted(name for name in dir(keras.applications) if name[0].isupper())


def network(name: str, image_size: tuple[int, int], precision: str = "float32") -> keras.Model:
    """A network of keras.applications without its classifier, with random weights: prepared pixels to its last maps.

    Raises:
        UserError: there is none of that name, or pictures of `image_size` (height, width) are too small for it.
    """
    if name not in names():
        raise UserError(f"extract.backbone {name} is not in keras.applications: choose one of {', '.join(names())}.")
    policy, uids = keras.config.dtype_policy(), global_state.get_global_attribute("object_name_uids")
    keras.config.set_dtype_policy(precision)
    # Layers that a network does not name (conv2d_3) are numbered from the start in each network, not in each process.
    global_state.set_global_attribute("object_name_uids", None)
    try:
        return getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(*image_size, 3))
    except ValueError as error:
        said = " ".join(str(error).split())
        raise UserError(f"extract.image_size {list(image_size)} does not suit {name} ({said}).") from None
    finally:
        keras.config.set_dtype_policy(policy)
        global_state.set_global_attribute("object_name_uids", uids)


def outputs(whole: keras.Model) -> dict[str, Any]:
    """What each layer of a network gives, by the layer's name, in the network's order."""
    return {
        layer.name: layer.output
        for layer in whole.operations
        if not isinstance(layer, keras.layers.InputLayer | keras.Model)  # a model's own output is not its call's
    }


def body(whole: keras.Model, name: str, image_size: tuple[int, int], layers: list[str], pooling: str) -> keras.Model:
    """A network from raw pixels up to the named layers.

    Args:
        whole: what `network` gave, whose weights it shares.
        name: the network's.
        image_size: height and width to which pictures are resized.
        layers: whose outputs are the features.
        pooling: avg, max or flatten.

    Returns:
        A model from pixels (batch, height, width, 3), 0 to 255, to a dictionary: layer name to float32 features of
        shape (batch, n).

    Raises:
        UserError: no such layer.
    """
    known = outputs(whole)
    for layer in layers:
        if layer not in known:
            raise UserError(f"extract.layers: {name} has no layer {layer}; it has {', '.join(known)}.")
    trunk = keras.Model(whole.input, [known[layer] for layer in layers], name="trunk")
    pixels = keras.Input((None, None, 3), name="pixels")
    maps = trunk(Preprocess(name, name="preprocess")(Resize(image_size, name="resize")(pixels)))
    return keras.Model(pixels, {layer: pool(output, pooling) for layer, output in zip(layers, maps, strict=True)})


def pool(maps: Any, pooling: str) -> Any:
    """(batch, height, width, channels), or what is flat already, in any precision to float32 (batch, n)."""
    kinds = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
    return (
        keras.layers.Flatten(dtype="float32")(maps)
        if len(maps.shape) != 4
        else kinds.get(pooling, keras.layers.Flatten)(dtype="float32")(maps)
    )
