"""One trial of a sweep: a head is trained just as `train` does it, unless it lags behind, and measured on val."""

import contextlib
import io
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from darkroom.core.errors import UserError
from darkroom.core.params import overlay
from darkroom.models.inputs import Inputs
from darkroom.pipeline import params

if TYPE_CHECKING:
    from optuna import Trial

    from darkroom.train.result import Log


class Data(NamedTuple):
    """What every trial is trained and measured on."""

    train: Inputs
    val: Inputs
    classes: list[str]
    seed: int  # that of the training: base.seed, as `train` takes it


def outcome(trial: "Trial", content: dict[str, Any], data: Data) -> tuple[float | None, dict[str, Any]]:
    """Train a trial's head unless it lags behind.

    Returns:
        The figure that counts, None where the head was given up or cannot be trained; and what else is known: figures,
        the curve (name to a value for each epoch), or the error.
    """
    import optuna

    rows: list[dict[str, float]] = []

    def log(epoch: int, figures: dict[str, float]) -> None:
        rows.append(figures)
        if trial.params["type"] == "dense":  # the rows of the others are values of one knob
            trial.report(figures["val_loss"], epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

    known: dict[str, Any] = {}
    try:
        known["figures"] = tried(content, data, log)
    except optuna.TrialPruned:
        pass
    except UserError as error:  # the trouble of this head alone: too large a rate, too little memory for its type
        known["error"] = str(error)
    known["curve"] = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
    return known.get("figures", {}).get("final_val_log_loss"), known


def tried(content: dict[str, Any], data: Data, log: "Log") -> dict[str, float]:
    """Train one head just as the stage `train` does; figures on validation, named as in reports/train.json."""
    import keras
    from sklearn.exceptions import ConvergenceWarning

    from darkroom.models import heads
    from darkroom.train import calibration, loop
    from darkroom.train.features import fit_head

    settings: Any = params.check(overlay(content, {"train": {"tensorboard": "none"}})).train
    keras.utils.clear_session()
    keras.utils.set_random_seed(data.seed)
    with (
        tempfile.TemporaryDirectory() as state,
        contextlib.redirect_stdout(io.StringIO()),  # a table of layers, and a line for each epoch
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", ConvergenceWarning)
        session = loop.Session(data.seed, Path(state), log)
        _, head, _ = fit_head(settings, data.train, data.val, data.classes, session)
    logits, labels = heads.run(head, data.val), data.val.numbers(data.classes)
    temperature = calibration.fit_temperature(logits, labels) if settings.calibration == "temperature" else 1.0
    return {
        "final_val_log_loss": calibration.log_loss(logits / temperature, labels),
        "final_val_accuracy": float((logits.argmax(axis=1) == labels).mean()),
        "temperature": temperature,
    }
