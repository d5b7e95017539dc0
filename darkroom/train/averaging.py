"""The exponential moving average of the weights (Polyak and Juditsky, Acceleration of Stochastic Approximation by
Averaging, 1992), which an optimizer keeps, and which is validated and kept in place of the weights.
"""

from typing import Any

import keras
from keras import ops


class Averaging:
    """A part of an optimizer: Keras' average of the weights, with a decay that grows up to `ema_momentum`.

    After t steps it is at most (1 + t) / (10 + t), as in TensorFlow's ExponentialMovingAverage: else the random weights
    of the beginning would be part of the average for thousands of steps.
    """

    def _update_model_variables_moving_average(self: Any, trainable_variables: Any) -> None:
        """Add the weights after a step to their average."""
        step = ops.cast(self.iterations, "float32")
        decay = ops.minimum(self.ema_momentum, step / (9 + step))  # the first step is number 0 here
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            average.assign_sub(ops.cast(1 - decay, average.dtype) * (average - variable))


class SGD(Averaging, keras.optimizers.SGD):
    """Keras' SGD."""


class RMSprop(Averaging, keras.optimizers.RMSprop):
    """Keras' RMSprop."""


class Adam(Averaging, keras.optimizers.Adam):
    """Keras' Adam."""


class AdamW(Averaging, keras.optimizers.AdamW):
    """Keras' AdamW."""


def exchange(model: keras.Model) -> None:
    """Exchange a model's weights with their average; a second call undoes the first.

    The optimizer keeps what the model does not have.
    """
    method = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    # Keras' callback SwapEMAWeights adds and subtracts, which rounds.
    for variable, average in zip(model.trainable_variables, method._model_variables_moving_average, strict=True):
        value = ops.convert_to_numpy(variable)
        variable.assign(average)
        average.assign(value)
