"""Gradient descent: the same for a head, for fine-tuning and for a network from scratch.

What comes next is a function of the history and of the state after an epoch, so that a training which was killed goes
on from there as if it had not been.
"""

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from darkroom.core.errors import UserError
from darkroom.models import heads
from darkroom.models.inputs import Inputs
from darkroom.train.batches import Batches
from darkroom.train.calibration import log_loss
from darkroom.train.checkpoints import Checkpoints
from darkroom.train.params import Descent
from darkroom.train.result import History, Log
from darkroom.train.tensorboard import Board


class Session(NamedTuple):
    """What a training needs besides its model and its data."""

    seed: int
    state: Path  # a folder for what a killed training goes on from
    log: Log  # called with the number of an epoch, from 1, and its figures


class Trained(NamedTuple):
    """What `fit` leaves: each epoch's figures, and the weights of those that were kept."""

    history: History
    checkpoints: Checkpoints

    def load(self, model: keras.Model, epoch: int) -> None:
        """Give the model the weights that it had after an epoch, counted from 0."""
        self.checkpoints.load(model, epoch, last=len(self.history["loss"]) - 1)


def fit(
    model: keras.Model,
    train: Batches,
    val: Inputs,
    classes: list[str],
    how: Descent,
    session: Session,
    phase: str = "",
    done: int = 0,
) -> Trained:
    """Train a model (rows to logits); afterwards it has the weights of its best epoch.

    Args:
        model: what is trained; layers that are not trainable stay as they are.
        train: batches by step.
        val: what the loss is measured on after each epoch, by one device, without label smoothing.
        classes: their names by number.
        how: the optimizer, its rate, how long.
        session: the state goes into its folder, the figures of each epoch to its log.
        phase: of several on one model, the name of this one.
        done: epochs of earlier phases.

    Raises:
        UserError: no epoch came to a loss that is a number, and there is no earlier phase to fall back on.
    """
    steps = how.validate_every or train.in_a_pass
    inside = [layer for part in model.layers if isinstance(part, keras.Model) for layer in part.layers]
    layers = [*model.layers, *inside]
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        for layer in layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
    # The same layers in another model, since a model that was compiled saves its optimizer with its weights.
    learner = keras.Model(model.input, model.output, name=model.name)
    descent = optimizer(how, how.most_epochs() * steps)
    if any(layer.dtype_policy.name == "mixed_float16" for layer in layers):
        descent = keras.optimizers.LossScaleOptimizer(descent)  # else small gradients are 0 in float16
    learner.compile(
        optimizer=descent,
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=how.label_smoothing),
        metrics=["accuracy"],
        jit_compile=False,  # on a CPU five times slower, on several GPUs known to hang
    )
    print(summary(model), flush=True)
    checkpoints = Checkpoints(session.state / phase, how.checkpoints == "all")
    history = checkpoints.restore(learner)
    epochs = len(history.get("loss", ()))
    after = _AfterEpoch(history, val, val.numbers(classes), how, checkpoints, session, phase, done)
    for epoch in range(epochs):
        after.tell(epoch)
    if finished(history, how):
        print(f"train: all {epochs} epochs were trained before, see {checkpoints.folder}", flush=True)
    else:
        if epochs:
            print(f"train: goes on after epoch {epochs} of {how.most_epochs()}", flush=True)
        learner.fit(
            train.stream(epochs * steps),
            initial_epoch=epochs,
            epochs=how.most_epochs(),
            steps_per_epoch=steps,
            shuffle=False,  # the batches have their order
            verbose=1 if sys.stdout.isatty() else 2,  # a bar on a terminal, a line an epoch in a log
            callbacks=[keras.callbacks.TerminateOnNaN(), after],
        )
    if not done and not np.isfinite(history["val_loss"][best(history)]):
        raise UserError(
            f"the loss is no number from the first epoch on: train.learning_rate {how.learning_rate} is too high."
        )
    trained = Trained(history, checkpoints)
    trained.load(model, best(history))
    return trained


class _AfterEpoch(keras.callbacks.Callback):
    """After each epoch: validate, save, tell, and decide how to go on."""

    def __init__(
        self,
        history: History,
        val: Inputs,
        labels: np.ndarray,
        how: Descent,
        checkpoints: Checkpoints,
        session: Session,
        phase: str,
        done: int,
    ) -> None:
        super().__init__()
        self.history, self.val, self.labels, self.how, self.checkpoints = history, val, labels, how, checkpoints
        self.log, self.done = session.log, done
        self.board = Board(session.state, phase, how.tensorboard)

    def on_train_begin(self, logs: Any = None) -> None:
        """Compile the forward pass once for all validations."""
        self.forward = tf.function(lambda rows: self.model(rows, training=False), reduce_retracing=True)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Figures go into `logs` too, where Keras' progress finds them."""
        logits = heads.run(self.model, self.val, self.forward)
        logs["val_accuracy"] = float((logits.argmax(axis=1) == self.labels).mean())
        logs["val_loss"] = log_loss(logits, self.labels)
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        for name, value in sorted(logs.items()):
            self.history.setdefault(name, []).append(float(value))
        over = finished(self.history, self.how)
        if self.how.schedule == "plateau":
            self.model.optimizer.learning_rate = plateau_rate(self.history["val_loss"], self.how)
        self.board.activations(self.done + epoch + 1, self.model, self.val)  # not made again after the epoch is saved
        self.checkpoints.save(self.model, self.history, best(self.history), over)
        self.tell(epoch)
        self.model.stop_training = over

    def tell(self, epoch: int) -> None:
        """Pass an epoch's figures on."""
        figures = {name: values[epoch] for name, values in self.history.items()}
        self.log(self.done + epoch + 1, figures)
        self.board.scalars(self.done + epoch + 1, figures)


def summary(model: keras.Model) -> str:
    """A table of the layers: what each gives, and how many weights it has."""
    lines: list[str] = []
    width = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"  # else Keras cuts the table where the terminal ends
    try:
        model.summary(line_length=100, expand_nested=True, print_fn=lambda line, **_: lines.append(line))
    finally:
        os.environ.pop("COLUMNS") if width is None else os.environ.update(COLUMNS=width)
    return "\n".join(lines)


def optimizer(how: Descent, steps: int) -> keras.optimizers.Optimizer:
    """The optimizer for so many steps; `cosine` ends at a rate of 0 after the last one."""
    rate: Any = how.learning_rate
    if how.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
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


def finished(history: History, how: Descent) -> bool:
    """Whether training is over: long enough, too long without a lower validation loss, or its loss is no number."""
    epochs = len(history.get("loss", ()))
    if not epochs:
        return False
    waited = epochs - 1 - best(history)
    return (
        epochs >= how.most_epochs()
        or bool(how.patience and waited >= how.patience)
        or not np.isfinite(history["loss"][-1])
    )


def plateau_rate(losses: list[float], how: Descent) -> float:
    """The rate after epochs with these validation losses: lowered each time that none was lower for long enough."""
    rate, lowest, waited = how.learning_rate, np.inf, 0
    for loss in losses:
        waited = 0 if loss < lowest else waited + 1
        lowest = min(lowest, loss) if loss == loss else lowest  # not where it is no number
        if waited == how.plateau_patience:
            rate, waited = rate * how.plateau_factor, 0
    return rate


def best(history: History) -> int:
    """The epoch, from 0, with the lowest validation loss; one whose loss is no number does not count."""
    return int(np.argmin(np.nan_to_num(history["val_loss"], nan=np.inf)))


def kept(history: History, keep: str | int) -> int:
    """The epoch, from 0, whose weights are the model: `train.keep`.

    Raises:
        UserError: training stopped before it, or its loss is no number.
    """
    epochs = len(history["val_loss"])
    if keep == "best":
        return best(history)
    chosen = epochs if keep == "last" else int(keep)
    if chosen > epochs:
        raise UserError(f"train.keep is {keep}, but training stopped after {epochs} epochs.")
    if not np.isfinite([history["loss"][chosen - 1], history["val_loss"][chosen - 1]]).all():
        raise UserError(
            f"train.keep is {keep}, but the loss of epoch {chosen} is no number: lower the learning rate, or set "
            "train.keep to best."
        )
    return chosen - 1
