"""The optimizers and learning rate schedules that `train` offers.

The learning rate is a function of the step or of the history, so that a killed training resumes with the same one.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

    from darkroom.train.params import Descent

# By name in train.optimizer: Keras' class, and the keys of `train` that it takes besides the rate and the weight decay.
OPTIMIZERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "adam": ("Adam", ()),
    "adamw": ("AdamW", ()),
    "sgd": ("SGD", ("momentum", "nesterov")),
    "rmsprop": ("RMSprop", ("momentum",)),
}


def optimizer(descent: "Descent", steps: int) -> "keras.optimizers.Optimizer":
    """The optimizer of a training of so many steps; schedule `cosine` reaches a rate of 0 after the last one."""
    import keras
    import tensorflow as tf

    from darkroom.train import fused_adam

    name, keys = OPTIMIZERS[descent.optimizer]
    rate: Any = descent.learning_rate
    if descent.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    settings: dict[str, Any] = {} if descent.weight_decay is None else {"weight_decay": descent.weight_decay}
    own = fused_adam if hasattr(fused_adam, name) and not tf.distribute.has_strategy() else keras.optimizers
    return getattr(own, name)(rate, **settings, **{key: getattr(descent, key) for key in keys})


def plateau_rate(losses: list[float], descent: "Descent") -> float:
    """The rate of schedule `plateau` after epochs with these validation losses.

    It is multiplied by `plateau_factor` whenever `plateau_patience` epochs in a row have not lowered the loss.
    """
    rate, lowest, waited = descent.learning_rate, np.inf, 0
    for loss in losses:
        waited = 0 if loss < lowest else waited + 1
        lowest = min(lowest, loss) if loss == loss else lowest  # unless it is NaN
        if waited == descent.plateau_patience:
            rate, waited = rate * descent.plateau_factor, 0
    return rate
