"""Fitting a classical head: scikit-learn fits each value of the knob, and the best one on validation is kept."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from darkroom.models import forward, head_model
from darkroom.models.heads.base import Classical, Data, Settings, require_memory_of
from darkroom.models.inputs import Held, Inputs
from darkroom.train.calibration import fit_temperature, log_loss
from darkroom.train.result import History, Log

MOST_FOR_CURVES = 2000  # training rows on which loss and accuracy are measured


def fit(
    settings: Settings,
    kind: Classical,
    train: Inputs,
    val: Inputs,
    classes: Sequence[str],
    class_weights: np.ndarray | None,
    seed: int,
    log: Log,
) -> tuple[dict[str, Any], keras.Model, History]:
    """Fit a head with each value of its knob, and keep the one with the lowest log loss on validation.

    Log losses are those after calibration on validation, since the scores of a support vector machine are no logits.

    Args:
        settings: section `train.head`, and `widths` where the features come from several layers.
        kind: the type that `settings` name.
        train: training features.
        val: validation features.
        classes: names in the order of the logits.
        class_weights: a weight for each class (classes,), or None.
        seed: of the random choices.
        log: called with the number and the figures of each value.

    Returns:
        The settings of the head with the chosen value and the fitted sizes, the head, and a history with a row for each
        value.

    Raises:
        UserError: the fit needs more memory than there is.
    """
    knob = kind.knob
    features = train.rows(slice(0, 1)).shape[1]
    require_memory_of(kind.name, 4 * 4 * len(train) * features, (len(train), features))  # with scikit-learn's copies
    prepared = head_model.prepare(settings, features)
    head_model.fit_scale(prepared, train)
    weights = np.ones(len(classes), np.float32) if class_weights is None else class_weights
    data = Data(forward.run(prepared, train), train.numbers(classes), weights, seed)
    some = np.unique(np.linspace(0, len(train) - 1, MOST_FOR_CURVES).astype(int))
    history: History = {name: [] for name in ("accuracy", "loss", "val_accuracy", "val_loss", knob)}
    best: tuple[dict[str, Any], keras.Model] | None = None
    fitter = kind.fitter(data, settings)
    for trial, value in enumerate(settings[knob], start=1):
        fitted = fitter(value)
        chosen = settings | {"fitted": {knob: value, **fitted.sizes}}
        head = head_model.build(chosen, features, len(classes), prepared)
        for name, arrays in fitted.weights.items():
            head.get_layer(name).set_weights(arrays)
        logits, labels = forward.run(head, val), val.numbers(classes)
        train_logits, train_labels = forward.run(head, Held(train.rows(some), train, some)), data.y[some]
        temperature = fit_temperature(logits, labels)
        figures = {
            "loss": log_loss(train_logits / temperature, train_labels),
            "accuracy": float((train_logits.argmax(axis=1) == train_labels).mean()),
            "val_loss": log_loss(logits / temperature, labels),
            "val_accuracy": float((logits.argmax(axis=1) == labels).mean()),
        }
        if best is None or figures["val_loss"] < min(history["val_loss"]):
            best = chosen, head
        figures[knob] = float(value)
        for name, figure in figures.items():
            history[name].append(figure)
        log(trial, figures)
        line = ", ".join(f"{name} {figure:.4g}" for name, figure in figures.items())
        print(f"{kind.name}: {line}", flush=True)
    assert best is not None  # noqa: S101 - the params have at least one value
    return *best, history
