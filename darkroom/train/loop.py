"""Gradient descent, for heads, fine-tuning and networks from scratch alike.

Every epoch is a function of the state that the one before saved, so a killed training resumes without a trace.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from darkroom.core.errors import UserError
from darkroom.core.terminal import clock
from darkroom.models import forward
from darkroom.models.inputs import Inputs
from darkroom.train.averaging import exchange
from darkroom.train.batches import Batches
from darkroom.train.calibration import log_loss
from darkroom.train.checkpoints import Checkpoints
from darkroom.train.history import best_epoch, finished
from darkroom.train.optimizers import optimizer, plateau_rate
from darkroom.train.params import Descent
from darkroom.train.result import History, Log
from darkroom.train.tensorboard import Board

MOST_STEPS = 32  # steps between two looks at the loss, at most


class Session(NamedTuple):
    """What a training needs besides its model and its data."""

    seed: int
    state: Path  # folder of the state from which a killed training resumes
    log: Log


class Trained(NamedTuple):
    """The figures of all epochs, and their weights as far as they were kept."""

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
    descent: Descent,
    session: Session,
    phase: str = "",
    done: int = 0,
) -> Trained:
    """Train a model (rows to logits) and leave it with the weights of its best epoch.

    Args:
        model: to train; layers that are not trainable stay as they are.
        train: batches by step.
        val: data of the validation loss, which is computed after each epoch without label smoothing.
        classes: names in the order of the logits.
        descent: optimizer, schedule and length.
        session: seed, state and log.
        phase: name of this training, where several phases train one model.
        done: epochs of earlier phases.

    Raises:
        UserError: the loss is never finite, and there is no earlier phase to fall back on.
    """
    steps = descent.validate_every or train.in_a_pass
    inside = [layer for part in model.layers if isinstance(part, keras.Model) for layer in part.layers]
    layers = [*model.layers, *inside]
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        for layer in layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
    # The same layers in another model, since a compiled model saves its optimizer with its weights.
    learner = keras.Model(model.input, model.output, name=model.name)
    method = optimizer(descent, steps)
    if any(layer.dtype_policy.name == "mixed_float16" for layer in layers):
        method = keras.optimizers.LossScaleOptimizer(method)  # else small gradients are 0 in float16
    learner.compile(
        optimizer=method,
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=descent.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy("accuracy")],
        jit_compile=False,  # on CPUs five times slower, on several GPUs known to hang
        steps_per_execution=1 if tf.distribute.has_strategy() else steps_per_execution(steps),
    )
    # With all variables in place, TensorFlow traces the training step once, not a second time without creating them.
    method.build(learner.trainable_variables)
    print(summary(model), flush=True)
    checkpoints = Checkpoints(session.state / phase, descent.checkpoints == "all")
    history = checkpoints.restore(learner)
    epochs = len(history.get("loss", ()))
    after = _AfterEpoch(history, val, val.numbers(classes), descent, checkpoints, session, phase, done)
    for epoch in range(epochs):
        after.report(epoch)
    if finished(history, descent):
        print(f"train: all {epochs} epochs are done already, see {checkpoints.folder}", flush=True)
    else:
        if epochs:
            print(f"train: resuming after epoch {epochs} of {descent.most_epochs()}", flush=True)
        learner.fit(
            train.stream(epochs * steps),
            initial_epoch=epochs,
            epochs=descent.most_epochs(),
            steps_per_epoch=steps,
            shuffle=False,  # the batches are shuffled already
            verbose=1 if sys.stdout.isatty() else 2,  # a bar on a terminal, a line for each epoch in a log
            callbacks=[keras.callbacks.TerminateOnNaN(), after],
        )
    if not done and not np.isfinite(history["val_loss"][best_epoch(history)]):
        raise UserError(
            f"the loss is NaN or infinite from the first epoch on: train.learning_rate {descent.learning_rate} is too "
            "high."
        )
    trained = Trained(history, checkpoints)
    trained.load(model, best_epoch(history))
    return trained


class _AfterEpoch(keras.callbacks.Callback):
    """After each epoch: validate, save the state, report the figures, and decide whether to stop."""

    def __init__(
        self,
        history: History,
        val: Inputs,
        labels: np.ndarray,
        descent: Descent,
        checkpoints: Checkpoints,
        session: Session,
        phase: str,
        done: int,
    ) -> None:
        super().__init__()
        self.history, self.val, self.labels, self.descent, self.checkpoints = history, val, labels, descent, checkpoints
        self.log, self.done = session.log, done
        self.board = Board(session.state, phase, descent.tensorboard)

    def on_train_begin(self, logs: Any = None) -> None:
        """Compile the forward pass once for all validations."""
        self.call = tf.function(lambda rows: self.model(rows, training=False), reduce_retracing=True)
        self.started: float | None = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Go on from the weights themselves, where those of the epoch before were averaged."""
        if self.descent.ema and epoch:
            exchange(self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Put the figures into `logs` too, where Keras' progress bar reads them."""
        if self.descent.ema:
            exchange(self.model)  # what is validated and kept is the average
        logits = forward.run(self.model, self.val, self.call)
        logs["val_accuracy"] = float((logits.argmax(axis=1) == self.labels).mean())
        logs["val_loss"] = log_loss(logits, self.labels)
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        for name, value in sorted(logs.items()):
            self.history.setdefault(name, []).append(float(value))
        over = finished(self.history, self.descent)
        if self.descent.schedule == "plateau":
            self.model.optimizer.learning_rate = plateau_rate(self.history["val_loss"], self.descent)
        # Before the state is saved: a resumed training does not repeat this epoch.
        self.board.activations(self.done + epoch + 1, self.model, self.val)
        self.checkpoints.save(self.model, self.history, over)
        self.report(epoch)
        self.model.stop_training = over
        if self.started is not None and not over and self.params["verbose"] != 1:  # Keras' bar has its own
            left = self.params["epochs"] - epoch - 1
            most = clock(left * (time.monotonic() - self.started))
            print(f"train: at most {left:,} more epochs, which take {most}", flush=True)
        self.started = None  # the first epoch stands for all

    def report(self, epoch: int) -> None:
        """Pass an epoch's figures to the log and to TensorBoard."""
        figures = {name: values[epoch] for name, values in self.history.items()}
        self.log(self.done + epoch + 1, figures)
        self.board.scalars(self.done + epoch + 1, figures)


def steps_per_execution(steps: int) -> int:
    """How many steps TensorFlow takes at a time, without Python in between: the largest divisor up to `MOST_STEPS`."""
    return max(count for count in range(1, MOST_STEPS + 1) if steps % count == 0)


def summary(model: keras.Model) -> str:
    """A table of the layers with their output shapes and numbers of weights."""
    lines: list[str] = []
    width = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"  # else Keras fits the table to the terminal
    try:
        model.summary(line_length=100, expand_nested=True, print_fn=lambda line, **_: lines.append(line))
    finally:
        os.environ.pop("COLUMNS") if width is None else os.environ.update(COLUMNS=width)
    return "\n".join(lines)
