"""Decisions that follow from the figures of the epochs so far: the best one, the one to keep, when to stop."""

import numpy as np

from darkroom.core.errors import UserError
from darkroom.train.params import Descent
from darkroom.train.result import History


def finished(history: History, descent: Descent) -> bool:
    """Whether training is over: by its length, by `patience`, or since the loss is NaN or infinite."""
    epochs = len(history.get("loss", ()))
    if not epochs:
        return False
    waited = epochs - 1 - best_epoch(history)
    return (
        epochs >= descent.most_epochs()
        or bool(descent.patience and waited >= descent.patience)
        or not np.isfinite(history["loss"][-1])
    )


def best_epoch(history: History) -> int:
    """The epoch, counted from 0, with the lowest validation loss; a loss of NaN does not count."""
    return int(np.argmin(np.nan_to_num(history["val_loss"], nan=np.inf)))


def kept_epoch(history: History, keep: str | int) -> int:
    """The epoch, counted from 0, whose weights the model gets by `train.keep`.

    Raises:
        UserError: training stopped before that epoch, or its loss is NaN or infinite.
    """
    epochs = len(history["val_loss"])
    if keep == "best":
        return best_epoch(history)
    number = epochs if keep == "last" else int(keep)
    if number > epochs:
        raise UserError(f"train.keep is {keep}, but training stopped after {epochs} epochs.")
    if not np.isfinite([history["loss"][number - 1], history["val_loss"][number - 1]]).all():
        raise UserError(
            f"train.keep is {keep}, but the loss of epoch {number} is NaN or infinite: lower the learning rate, or set "
            "train.keep to best."
        )
    return number - 1
