"""Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019) by TensorFlow's fused operation.

It passes over the weights once, Keras' own update about ten times, which takes a third of a step of a wide dense layer.
The arithmetic is the same but for rounding.
"""

from typing import Any

import tensorflow as tf

from darkroom.train import averaging


class _Fused:
    """The update of keras.optimizers.Adam; not for distributed variables."""

    def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update a variable and its moments."""
        place, dtype = self._get_variable_index(variable), variable.dtype
        step = tf.cast(self.iterations.value + 1, dtype)
        beta_1, beta_2 = tf.constant(self.beta_1, dtype), tf.constant(self.beta_2, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            beta1_power=beta_1**step,
            beta2_power=beta_2**step,
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.constant(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )


class Adam(_Fused, averaging.Adam):
    """Keras' Adam."""


class AdamW(_Fused, averaging.AdamW):
    """Keras' AdamW."""
