"""Networks of keras.applications, and feature extractors made of them: raw RGB pixels in, features of layers out.

Resizing and the network's own pre-processing are layers, so that extraction, training, evaluation, exported models and
predictions treat every pixel alike.
"""

import sys
from typing import Any

import keras
from keras import ops
from keras.src.backend.common import global_state

from darkroom.core.errors import UserError


@keras.saving.register_keras_serializable("darkroom")
class Resize(keras.layers.Layer):
    """Bilinear resizing with antialiasing: (batch, height, width, 3) of any type to float32 of `size`.

    Equals `tf.image.resize(antialias=True)`, but is written as two products with interpolation matrices, since neither
    ONNX nor LiteRT has that operation.
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
    def _matrix(old_size: Any, new_size: int) -> Any:
        """Weights (new size, old size) of a triangle filter as wide as the scale; each row sums to 1."""
        scale = ops.cast(old_size, "float32") / new_size
        centres = (ops.arange(new_size, dtype="float32") + 0.5) * scale - 0.5
        distance = ops.abs(ops.cast(ops.arange(old_size), "float32")[None, :] - centres[:, None])
        weights = ops.relu(1 - distance / ops.maximum(scale, 1.0))
        return weights / ops.sum(weights, axis=1, keepdims=True)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, for saving."""
        return {**super().get_config(), "size": self.size}

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (batch, height, width, channels) after resizing."""
        return (input_shape[0], *self.size, input_shape[3])


@keras.saving.register_keras_serializable("darkroom")
class Preprocess(keras.layers.Layer):
    """The pre-processing of a network of keras.applications, for pixels from 0 to 255."""

    def __init__(self, network: str, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.network = network

    def call(self, pixels: Any) -> Any:
        """Apply the network's own `preprocess_input`."""
        module = sys.modules[getattr(keras.applications, self.network).__module__]
        return module.preprocess_input(pixels, data_format="channels_last")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, for saving."""
        return {**super().get_config(), "network": self.network}


def names() -> list[str]:
    """List the networks of keras.applications."""
    return sorted(name for name in dir(keras.applications) if name[0].isupper())


def network(name: str, image_size: tuple[int, int], precision: str = "float32") -> keras.Model:
    """Build a network of keras.applications without its classifier, with random weights.

    Args:
        name: the network, such as VGG16.
        image_size: height and width of its input.
        precision: dtype policy.

    Returns:
        A model from pre-processed pixels to the last feature maps.

    Raises:
        UserError: the name is unknown, or the network cannot take pictures of this size.
    """
    if name not in names():
        raise UserError(f"extract.backbone {name} is not in keras.applications: choose one of {', '.join(names())}.")
    policy, uids = keras.config.dtype_policy(), global_state.get_global_attribute("object_name_uids")
    keras.config.set_dtype_policy(precision)
    # Keras numbers unnamed layers (conv2d_3) through a whole process; here every network starts from the first number,
    # so that a layer's name does not depend on what was built before.
    global_state.set_global_attribute("object_name_uids", None)
    try:
        return getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(*image_size, 3))
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"extract.image_size {list(image_size)} does not suit {name} ({reason}).") from None
    finally:
        keras.config.set_dtype_policy(policy)
        global_state.set_global_attribute("object_name_uids", uids)


def layer_outputs(backbone: keras.Model) -> dict[str, Any]:
    """Map the names of a network's layers, in its order, to their outputs."""
    return {
        layer.name: layer.output
        for layer in backbone.operations
        if not isinstance(layer, keras.layers.InputLayer | keras.Model)  # a nested model's output is not its call's
    }


def feature_extractor(
    backbone: keras.Model, name: str, image_size: tuple[int, int], layers: list[str], pooling: str, mirror: bool = False
) -> keras.Model:
    """Build the part of a backbone from raw pixels up to the selected layers.

    Args:
        backbone: a model that `network` built; its weights are shared.
        name: the network, whose pre-processing is used.
        image_size: height and width to which pictures are resized.
        layers: the layers whose outputs are the features.
        pooling: avg, max or flatten.
        mirror: whether features are the mean over a picture and its mirror image.

    Returns:
        A model from pixels (batch, height, width, 3), 0 to 255, to a dictionary of layer name to float32 features
        (batch, n).

    Raises:
        UserError: a layer does not exist.
    """
    outputs = layer_outputs(backbone)
    for layer in layers:
        if layer not in outputs:
            raise UserError(f"extract.layers: {name} has no layer {layer}; it has {', '.join(outputs)}.")
    trunk = keras.Model(backbone.input, [outputs[layer] for layer in layers], name="trunk")
    pixels = keras.Input((None, None, 3), name="pixels")
    resized = Preprocess(name, name="preprocess")(Resize(image_size, name="resize")(pixels))
    pooled = [pool(maps, pooling) for maps in trunk(resized)]
    if mirror:
        other = [pool(maps, pooling) for maps in trunk(ops.flip(resized, axis=2))]
        pooled = [keras.layers.Average()(both) for both in zip(pooled, other, strict=True)]
    return keras.Model(pixels, dict(zip(layers, pooled, strict=True)))


def pool(maps: Any, pooling: str) -> Any:
    """Pool feature maps (batch, height, width, channels) to float32 (batch, n); any other output is flattened.

    Args:
        maps: the output of a layer, in any precision.
        pooling: avg, max or flatten.
    """
    kinds = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
    layer = kinds.get(pooling, keras.layers.Flatten) if len(maps.shape) == 4 else keras.layers.Flatten
    return layer(dtype="float32")(maps)
