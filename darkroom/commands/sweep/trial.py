"""One trial of a sweep: train a head as the stage `train` does, unless it is pruned, and measure it on validation."""

import contextlib
import io
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from darkroom.core.errors import UserError
from darkroom.core.params import overlay
from darkroom.models import heads
from darkroom.models.heads.base import Classical
from darkroom.models.inputs import Inputs
from darkroom.pipeline import params

if TYPE_CHECKING:
    from optuna import Trial

    from darkroom.train.result import Log


class Data(NamedTuple):
    """The features that every trial is trained and measured on."""

    train: Inputs
    val: Inputs
    classes: list[str]
    seed: int  # of the training: base.seed, as in the stage


def evaluate(trial: "Trial", content: dict[str, Any], data: Data) -> tuple[float | None, dict[str, Any]]:
    """Train a trial's head, and prune it if it lags behind.

    Returns:
        The log loss on validation, None if the head was pruned or cannot be trained; and the trial's attributes:
        `figures`, `curve` (name to a value for each epoch), and `error` if there was one.
    """
    import optuna

    rows: list[dict[str, float]] = []

    def log(epoch: int, figures: dict[str, float]) -> None:
        rows.append(figures)
        if not isinstance(heads.registered()[trial.params["type"]], Classical):  # whose rows are values of a knob
            trial.report(figures["val_loss"], epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

    attributes: dict[str, Any] = {}
    try:
        attributes["figures"] = train(content, data, log)
    except optuna.TrialPruned:
        pass
    except UserError as error:  # such as too high a learning rate, or too little memory for this type
        attributes["error"] = str(error)
    attributes["curve"] = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
    return attributes.get("figures", {}).get("final_val_log_loss"), attributes


def train(content: dict[str, Any], data: Data, log: "Log") -> dict[str, float]:
    """Train a head as the stage `train` does, and return its figures on validation, named as in reports/train.json."""
    import keras
    from sklearn.exceptions import ConvergenceWarning

    from darkroom.models import forward
    from darkroom.train import calibration, loop
    from darkroom.train.features import fit_head

    settings: Any = params.check(overlay(content, {"train": {"tensorboard": "none"}})).train
    keras.utils.clear_session()
    keras.utils.set_random_seed(data.seed)
    with (
        tempfile.TemporaryDirectory() as state,
        contextlib.redirect_stdout(io.StringIO()),  # the line of each epoch
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", ConvergenceWarning)
        session = loop.Session(data.seed, Path(state), log)
        _, head, _ = fit_head(settings, data.train, data.val, data.classes, session)
    logits, labels = forward.run(head, data.val), data.val.numbers(data.classes)
    temperature = calibration.fit_temperature(logits, labels) if settings.calibration == "temperature" else 1.0
    return {
        "final_val_log_loss": calibration.log_loss(logits / temperature, labels),
        "final_val_accuracy": float((logits.argmax(axis=1) == labels).mean()),
        "temperature": temperature,
    }
