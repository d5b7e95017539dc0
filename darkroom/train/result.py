"""What every way of training returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

from darkroom.models.classifier import Classifier

Log = Callable[[int, dict[str, float]], None]  # takes the number of an epoch, from 1, and its figures
History = dict[str, list[float]]  # loss, accuracy, val_loss, val_accuracy and more, a value for each epoch


class Result(NamedTuple):
    """A trained model, not calibrated yet."""

    model: Classifier
    history: History  # a row for each epoch, or for a classical head for each value of its knob
    report: dict[str, Any]  # what reports/train.json holds besides what all ways of training have
