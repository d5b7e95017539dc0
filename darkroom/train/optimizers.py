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
    """The optimizer of a training whose epochs have so many steps.

    After a warm-up (Goyal et al., 2017), schedule `cosine` (Loshchilov and Hutter, SGDR, 2017) reaches a rate of 0
    after the last step.
    """
    import tensorflow as tf

    from darkroom.train import averaging, fused_adam

    name, keys = OPTIMIZERS[descent.optimizer]
    settings: dict[str, Any] = {} if descent.weight_decay is None else {"weight_decay": descent.weight_decay}
    if descent.ema:
        settings |= {"use_ema": True, "ema_momentum": descent.ema}
    own = fused_adam if hasattr(fused_adam, name) and not tf.distribute.has_strategy() else averaging
    return getattr(own, name)(rates(descent, steps), **settings, **{key: getattr(descent, key) for key in keys})


def rates(descent: "Descent", steps: int) -> Any:
    """The learning rate, or its schedule, for epochs of so many steps."""
    import keras

    rate, warmup = descent.learning_rate, descent.warmup_epochs * steps
    if descent.schedule != "cosine" and not warmup:
        return rate
    ramp: dict[str, Any] = {"warmup_target": rate, "warmup_steps": warmup} if warmup else {}
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else rate,
        max(1, descent.most_epochs() * steps - warmup),
        alpha=0.0 if descent.schedule == "cosine" else 1.0,  # the share that remains at the end
        **ramp,
    )


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
