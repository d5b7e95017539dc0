"""Layers that the networks share."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops


@keras.saving.register_keras_serializable("darkroom")
class Grey(layers.Layer):
    """Luma, as JPEG and Pillow compute it: (batch, height, width, 3) to (batch, height, width, 1)."""

    def call(self, pixels: Any) -> Any:
        """Weigh red, green and blue."""
        return ops.sum(pixels * ops.convert_to_tensor([0.299, 0.587, 0.114], pixels.dtype), axis=-1, keepdims=True)


@keras.saving.register_keras_serializable("darkroom")
class BatchNorm(layers.BatchNormalization):
    """Keras' batch normalisation, with TensorFlow's fused operation for maps in training, which takes half the time."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """(batch, height, width, channels) to the same; other shapes are left to Keras."""
        if not training or self.synchronized or len(inputs.shape) != 4:
            return super().call(inputs, training=training, mask=mask)
        normal, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma.value, self.beta.value, epsilon=self.epsilon, is_training=True
        )
        count = ops.cast(ops.size(inputs[..., 0]), "float32")
        variance *= (count - 1) / count  # the operation estimates the population's variance, Keras takes the batch's
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return normal


def logits(x: Any, classes: int, **initializers: Any) -> Any:
    """The last layer: features (batch, n) to float32 logits (batch, classes)."""
    return layers.Dense(classes, dtype="float32", name="logits", **initializers)(x)
