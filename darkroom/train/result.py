"""What every mode of training returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

from darkroom.models.classifier import Classifier

Log = Callable[[int, dict[str, float]], None]  # called with the number of an epoch, from 1, and its figures
History = dict[str, list[float]]  # loss, accuracy, val_loss, val_accuracy and others: a value for each epoch


class Result(NamedTuple):
    """A trained model before calibration."""

    model: Classifier
    history: History  # a row for each epoch; of a classical head, for each value of its knob
    report: dict[str, Any]  # entries of reports/train.json that only this mode has
