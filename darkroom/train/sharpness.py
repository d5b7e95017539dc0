"""Sharpness-aware minimisation (Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization,
2021): a step follows the gradient at the worst place near the weights, which leads to flat minima.
"""

from typing import Any

import keras
import tensorflow as tf


class SharpnessAware(keras.Model):
    """A functional model whose training steps look for the highest loss within `radius` of the weights first."""

    radius = 0.05

    def train_step(self, data: Any) -> dict[str, Any]:
        """Climb, take the gradient there, go back, and descend by it; twice the work of an ordinary step."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        variables = [variable.value for variable in self.trainable_variables]
        before = [tf.identity(variable) for variable in variables]
        gradients, *_ = self._gradients(x, y, sample_weight, variables)
        scale = self.radius / (tf.linalg.global_norm(gradients) + 1e-12)
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.assign_add(scale * gradient)
        gradients, loss, logits = self._gradients(x, y, sample_weight, variables)
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(x)[0])
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return dict(self.compute_metrics(x, y, logits, sample_weight=sample_weight))

    def _gradients(self, x: Any, y: Any, sample_weight: Any, variables: list[Any]) -> tuple[list[Any], Any, Any]:
        """The gradients, the loss, and the logits (batch, classes) at the current weights."""
        with tf.GradientTape() as tape:
            logits = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=logits, sample_weight=sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss)
        return tape.gradient(scaled, variables), loss, logits
