"""Gradient descent: the same for a head, for fine-tuning and for whatever else has weights."""

import sys
from typing import Any

import keras
import numpy as np

from stages.common.batches import Batches
from stages.common.errors import StageError
from stages.common.tracking import Log
from stages.common.train_params import Descent

History = dict[str, list[float]]  # loss, accuracy, val_loss, val_accuracy and learning_rate of each epoch


def fit(model: keras.Model, train: Batches, val: Batches, how: Descent, log: Log, done: int = 0) -> History:
    """Train a model (rows to logits) until the validation loss no longer falls; its best epoch's weights stay.

    Args:
        model: what is trained; layers that are not trainable stay as they are.
        train: batches in a new order each epoch.
        val: batches in order.
        how: the optimizer, its rate, how long.
        log: called at the end of each epoch.
        done: epochs before these ones.
    """
    model.compile(
        optimizer=optimizer(how, len(train)),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=how.label_smoothing),
        metrics=["accuracy"],
        jit_compile=False,  # on a CPU five times slower
    )

    def note(epoch: int, figures: dict[str, Any]) -> None:
        figures["learning_rate"] = float(model.optimizer.learning_rate)

    def tell(epoch: int, figures: dict[str, Any]) -> None:
        log(done + epoch + 1, dict(figures))

    callbacks = [
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: train.start(epoch)),
        keras.callbacks.LambdaCallback(on_epoch_end=note),
        keras.callbacks.EarlyStopping("val_loss", patience=how.patience, restore_best_weights=True),
        keras.callbacks.LambdaCallback(on_epoch_end=tell),
    ]
    if how.schedule == "plateau":
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau("val_loss", factor=how.plateau_factor, patience=how.plateau_patience)
        )
    verbose = 1 if sys.stdout.isatty() else 2  # a bar on a terminal, a line an epoch in a log
    # Batches have their own order: Keras would shuffle them once more, by Python's global generator.
    history = model.fit(
        train, validation_data=val, epochs=how.epochs, shuffle=False, verbose=verbose, callbacks=callbacks
    ).history
    return {name: [float(value) for value in values] for name, values in sorted(history.items())}


def optimizer(how: Descent, batches: int) -> keras.optimizers.Optimizer:
    """The optimizer for epochs of so many batches; `cosine` ends at a rate of 0 after the last epoch."""
    rate: Any = how.learning_rate
    if how.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, how.epochs * batches)
    more: dict[str, Any] = {} if how.weight_decay is None else {"weight_decay": how.weight_decay}
    if how.optimizer == "sgd":
        more |= {"momentum": how.momentum, "nesterov": how.nesterov}
    elif how.optimizer == "rmsprop":
        more |= {"momentum": how.momentum}
    kinds = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "sgd": keras.optimizers.SGD,
        "rmsprop": keras.optimizers.RMSprop,
    }
    return kinds[how.optimizer](rate, **more)


def best(history: History) -> int:
    """The epoch, from 0, with the lowest validation loss; one whose loss is no number does not count."""
    return int(np.argmin(np.nan_to_num(history["val_loss"], nan=np.inf)))


def require_number(history: History, rate: float) -> None:
    """Stop where no epoch came to a loss that is a number."""
    if np.isinf(lowest(history)):
        raise StageError(f"the loss is no number from the first epoch on: train.learning_rate {rate} is too high.")


def lowest(history: History) -> float:
    """The lowest validation loss; infinite where none is a number."""
    return float(np.min(np.nan_to_num(history["val_loss"], nan=np.inf)))
