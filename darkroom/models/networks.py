"""Networks that are trained from nothing: resized pixels in, logits out. What is done to pixels is inside."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from darkroom.core.errors import UserError


@keras.saving.register_keras_serializable("darkroom")
class Grey(layers.Layer):
    """Luma, as JPEG and Pillow have it: (batch, height, width, 3) to (batch, height, width, 1)."""

    def call(self, pixels: Any) -> Any:
        """The weighted sum of red, green and blue."""
        return ops.sum(pixels * ops.convert_to_tensor([0.299, 0.587, 0.114], pixels.dtype), axis=-1, keepdims=True)


def build(settings: dict[str, Any], classes: int, precision: str = "float32") -> keras.Model:
    """A network with random weights: pixels (batch, height, width, 3), 0 to 255, to float32 logits (batch, classes).

    Args:
        settings: name (one of NETWORKS), image_size, color (rgb, grey), activation (None for the network's own).
        classes: how many there are.
        precision: Keras' dtype policy for all layers but the last.

    Raises:
        UserError: pictures of that size are too small for it.
    """
    height, width = settings["image_size"]
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        pixels = keras.Input((height, width, 3), name="resized")
        x = Grey(name="grey", dtype="float32")(pixels) if settings["color"] == "grey" else pixels
        logits = NETWORKS[settings["name"]](x, settings["activation"] or "relu", classes)
        return keras.Model(pixels, logits, name=settings["name"])
    except ValueError as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"train.scratch.image_size {[height, width]} is too small for {settings['name']} ({said})."
        ) from None
    finally:
        keras.config.set_dtype_policy(policy)


@keras.saving.register_keras_serializable("darkroom")
class BatchNorm(layers.BatchNormalization):
    """Keras' batch normalisation of maps, in training by TensorFlow's fused operation, which takes half its time."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """(batch, height, width, channels) to the same; what is not maps goes Keras' way."""
        if not training or self.synchronized or len(inputs.shape) != 4:
            return super().call(inputs, training=training, mask=mask)
        normal, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma.value, self.beta.value, epsilon=self.epsilon, is_training=True
        )
        count = ops.cast(ops.size(inputs[..., 0]), "float32")
        variance *= (count - 1) / count  # Keras takes the variance of the batch, the operation estimates that of all
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return normal


# Layers have names: Keras' numbers would depend on what else the process has built, and they are in the weights file.


def fashion_cnn(x: Any, activation: str, classes: int) -> Any:
    """Two blocks of two convolutions with batch norm, then two large dense layers."""
    x = layers.Rescaling(1 / 255, dtype="float32", name="scale")(x)
    for block, filters in enumerate((16, 32), start=1):
        for number in (1, 2):
            x = layers.Conv2D(filters, 3, activation=activation, name=f"conv_{block}_{number}")(x)
            x = BatchNorm(name=f"batch_norm_{block}_{number}")(x)
        x = layers.MaxPooling2D(name=f"pool_{block}")(x)
        x = layers.Dropout(0.25, name=f"dropout_{block}")(x)
    x = layers.Flatten(name="flatten")(x)
    for number, (units, dropout) in enumerate(((512, 0.25), (1024, 0.5)), start=1):
        x = layers.Dense(units, activation=activation, name=f"dense_{number}")(x)
        x = layers.Dropout(dropout, name=f"dense_dropout_{number}")(x)
    return _logits(x, classes)


def mnist_cnn(x: Any, activation: str, classes: int) -> Any:
    """Two wide convolutions and a dense layer, on pixels from 0 to 255 as they are."""
    drawn = {"kernel_initializer": keras.initializers.RandomNormal(stddev=0.1), "bias_initializer": "ones"}
    for number, filters in enumerate((32, 64), start=1):
        x = layers.Conv2D(filters, 5, padding="same", activation=activation, name=f"conv_{number}", **drawn)(x)
        x = layers.MaxPooling2D(name=f"pool_{number}")(x)
    x = layers.Dense(1024, activation=activation, name="dense", **drawn)(layers.Flatten(name="flatten")(x))
    return _logits(layers.Dropout(0.5, name="dropout")(x), classes, **drawn)


def mini_vggnet(x: Any, activation: str, classes: int) -> Any:
    """VGGNet's pattern, small: two blocks of two convolutions, batch norm after each activation."""
    x = layers.Rescaling(1 / 255, dtype="float32", name="scale")(x)
    for block, filters in enumerate((32, 64), start=1):
        for number in (1, 2):
            x = layers.Conv2D(filters, 3, padding="same", name=f"conv_{block}_{number}")(x)
            x = layers.Activation(activation, name=f"activation_{block}_{number}")(x)
            x = BatchNorm(name=f"batch_norm_{block}_{number}")(x)
        x = layers.MaxPooling2D(name=f"pool_{block}")(x)
        x = layers.Dropout(0.25, name=f"dropout_{block}")(x)
    x = layers.Dense(512, name="dense")(layers.Flatten(name="flatten")(x))
    x = BatchNorm(name="batch_norm")(layers.Activation(activation, name="activation")(x))
    return _logits(layers.Dropout(0.5, name="dropout")(x), classes)


def dense(x: Any, activation: str, classes: int) -> Any:
    """Dense layers alone: what a network without convolutions comes to."""
    x = layers.Flatten(name="flatten")(layers.Rescaling(1 / 255, dtype="float32", name="scale")(x))
    for number, units in enumerate((500, 50), start=1):
        x = layers.Dense(units, activation=activation, name=f"dense_{number}")(x)
    return _logits(x, classes)


def small_resnet(x: Any, activation: str, classes: int) -> Any:
    """Residual blocks that begin with batch norm (He et al., Identity Mappings in Deep Residual Networks, 2016).

    Two blocks of 64 filters at half the size of the pictures, two of 128 at a quarter, and the mean over all places:
    few weights, most of the work where maps are small.
    """
    x = layers.Rescaling(1 / 127.5, -1, dtype="float32", name="scale")(x)
    x = layers.Conv2D(32, 3, padding="same", use_bias=False, name="stem")(x)
    x = layers.MaxPooling2D(name="stem_pool")(x)
    for block, (filters, strides) in enumerate(((64, 1), (64, 1), (128, 2), (128, 1)), start=1):
        y = _normal(x, f"{block}_1", activation)
        if filters != x.shape[-1]:
            x = layers.Conv2D(filters, 1, strides, use_bias=False, name=f"shortcut_{block}")(y)
        y = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=f"conv_{block}_1")(y)
        y = _normal(y, f"{block}_2", activation)
        y = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv_{block}_2")(y)
        x = layers.Add(name=f"add_{block}")([x, y])
    x = layers.GlobalAveragePooling2D(name="mean")(_normal(x, "last", activation))
    return _logits(layers.Dropout(0.3, name="dropout")(x), classes)


def _normal(x: Any, name: str, activation: str) -> Any:
    return layers.Activation(activation, name=f"activation_{name}")(BatchNorm(name=f"batch_norm_{name}")(x))


def _logits(x: Any, classes: int, **drawn: Any) -> Any:
    return layers.Dense(classes, dtype="float32", name="logits", **drawn)(x)


NETWORKS = {made.__name__: made for made in (fashion_cnn, mnist_cnn, mini_vggnet, dense, small_resnet)}
