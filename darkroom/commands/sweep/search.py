"""The search space of a sweep: types of heads, how features are prepared, and each type's own parameters.

The types declare their parameters in `darkroom/models/heads/`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from darkroom.models import heads

if TYPE_CHECKING:
    from optuna import Trial

    from darkroom.train.params import Params

PREPARE = ["one", "each", "l2", "sqrt l2", "sqrt one", "sqrt l2 one"]  # steps of train.head.prepare

TYPES = tuple(heads.registered())  # in the order in which they are tried first

# Keys of `train` that a trial sets, and those that do not affect heads on features.
SEARCHED = {"mode", "head", "optimizer", "learning_rate", "weight_decay", "label_smoothing", "batch_size"}
IRRELEVANT = {"network", "scratch", "fine_tune", "tensorboard", "log_devices"}


def fixed(params: "Params") -> dict[str, Any]:
    """The settings that all trials share; other values make another sweep."""
    own = {name for head in heads.registered().values() for name in head.not_searched}
    return params.model_dump(mode="json", exclude=SEARCHED | IRRELEVANT) | params.head.model_dump(include=own)


def first(name: str) -> dict[str, Any]:
    """The parameters of the first trial of a type of head, for Optuna's `enqueue_trial`."""
    head = heads.registered()[name]
    parameters = {"prepare": " ".join(head.prepare), **head.start}
    return {"type": name, **{f"{name}.{key}": value for key, value in parameters.items()}}


def drawn(trial: "Trial", names: Sequence[str]) -> dict[str, Any]:
    """Let Optuna choose a head of one of these types.

    Returns:
        The changed keys of section `train`, with rounded values.
    """
    name = trial.suggest_categorical("type", names)
    prepare = trial.suggest_categorical(f"{name}.prepare", PREPARE).split()
    settings = heads.registered()[name].draw(trial)
    head = {"type": name, "prepare": prepare, **settings.pop("head")}
    return {"mode": "head", "head": head, **settings}
