"""What a sweep searches: the types of heads, and for each the settings with their ranges.

A setting's name begins with the type, since the same knob of two types is not the same thing to the sampler.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Trial

    from darkroom.train.params import Params

PREPARE = ["one", "each", "l2", "sqrt l2", "sqrt one", "sqrt l2 one"]  # steps of train.head.prepare
KNOBS = {  # of a classical head: the key, the least and the largest value; searched on a logarithmic scale
    "logistic": ("C", 1e-3, 1e3),
    "linear_svm": ("C", 1e-3, 1e2),
    "rbf_svm": ("C", 1e-1, 1e3),
    "knn": ("neighbours", 1, 100),
    "tree": ("leaf", 1, 100),
    "forest": ("trees", 50, 400),
}
USUAL: dict[str, dict[str, Any]] = {  # what a search begins with: each type as params.yaml comes, or nearly
    "dense": {
        "prepare": "one",
        "layers": 1,
        "units_1": 256,
        "activation": "relu",
        "batch_norm": False,
        "dropout": 0.5,
        "optimizer": "adam",
        "learning_rate": 3e-4,
        "label_smoothing": 0.0,
        "batch_size": 256,
    },
    "logistic": {"prepare": "sqrt l2", "C": 10.0},
    "linear_svm": {"prepare": "sqrt l2", "C": 1.0},
    "rbf_svm": {"prepare": "sqrt l2", "C": 3.0},
    "knn": {"prepare": "sqrt l2", "neighbours": 10},
    "tree": {"prepare": "l2", "leaf": 10},
    "forest": {"prepare": "sqrt l2", "trees": 300},
}

# Keys of train that a trial sets itself, and those that heads on features do not depend on.
SET = {"mode", "head", "optimizer", "learning_rate", "weight_decay", "label_smoothing", "batch_size"}
NO_MATTER = {"network", "scratch", "fine_tune", "tensorboard", "log_devices"}


def left(params: "Params") -> dict[str, Any]:
    """What trials take from section `train` as it is: another value makes another sweep."""
    return {**params.model_dump(mode="json", exclude=SET | NO_MATTER), "output": params.head.output}


def usual(kind: str) -> dict[str, Any]:
    """The settings with which a type of head is tried first, for Optuna's `enqueue_trial`."""
    return {"type": kind, **{f"{kind}.{name}": value for name, value in USUAL[kind].items()}}


def drawn(trial: "Trial", kinds: Sequence[str]) -> dict[str, Any]:
    """Let Optuna choose a head of one of these types.

    Returns:
        What it is in section `train` of params.yaml; values are rounded, so that a person can read them.
    """
    kind = trial.suggest_categorical("type", kinds)
    prepare = trial.suggest_categorical(f"{kind}.prepare", PREPARE).split()
    if kind == "dense":
        return _dense(trial, prepare)
    key, low, high = KNOBS[kind]
    suggest = trial.suggest_float if isinstance(low, float) else trial.suggest_int
    value = suggest(f"{kind}.{key}", low, high, log=True)  # type: ignore[arg-type]
    return {
        "mode": "head",
        "head": {"type": kind, "prepare": prepare, key: [_rounded(value)]},
        "label_smoothing": 0.0,  # of use to dense heads only, and refused for others
    }


def _dense(trial: "Trial", prepare: list[str]) -> dict[str, Any]:
    layers = trial.suggest_int("dense.layers", 0, 2)
    optimizer = trial.suggest_categorical("dense.optimizer", ["adam", "adamw", "rmsprop"])
    decay = trial.suggest_float("dense.weight_decay", 1e-5, 1e-1, log=True) if optimizer == "adamw" else None
    return {
        "mode": "head",
        "head": {
            "type": "dense",
            "prepare": prepare,
            "hidden": [trial.suggest_int(f"dense.units_{number + 1}", 32, 1024, log=True) for number in range(layers)],
            "activation": trial.suggest_categorical("dense.activation", ["relu", "leaky_relu", "tanh"]),
            "batch_norm": trial.suggest_categorical("dense.batch_norm", [False, True]),
            "dropout": _rounded(trial.suggest_float("dense.dropout", 0.0, 0.8, step=0.05)),
        },
        "optimizer": optimizer,
        "learning_rate": _rounded(trial.suggest_float("dense.learning_rate", 1e-4, 2e-2, log=True)),
        "weight_decay": decay and _rounded(decay),
        "label_smoothing": _rounded(trial.suggest_float("dense.label_smoothing", 0.0, 0.2, step=0.05)),
        "batch_size": trial.suggest_categorical("dense.batch_size", [32, 64, 128, 256]),
    }


def _rounded(value: float) -> float:
    """Three digits; a whole number stays one."""
    return value if isinstance(value, int) else float(f"{value:.3g}")
