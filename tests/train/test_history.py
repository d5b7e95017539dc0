"""Stopping and keeping, against Keras' own callback."""

import math

import keras
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from darkroom.core.errors import UserError
from darkroom.train.history import best_epoch, finished, kept_epoch
from tests.helpers.training import descent, epochs_by_keras

pytestmark = pytest.mark.usefixtures("tensorflow")
LOSSES = st.lists(st.sampled_from([0.5, 0.7, 0.9, 1.1]), min_size=1, max_size=12)


def history_of(val_losses, losses=None):
    return {"loss": losses or [0.5] * len(val_losses), "val_loss": val_losses}


@settings(max_examples=30, deadline=None)
@given(LOSSES, st.integers(1, 4))
@example([0.5, math.nan, math.nan, 0.4], 2)  # Keras takes a NaN that comes first for the best
def test_stopping_is_that_of_keras(losses, patience):
    settings = descent(epochs=len(losses), patience=patience)
    ours = next(n for n in range(1, len(losses) + 1) if finished(history_of(losses[:n]), settings))
    assert ours == len(epochs_by_keras(losses, keras.callbacks.EarlyStopping("val_loss", patience=patience)))


def test_without_patience_training_never_stops_early():
    settings = descent(epochs=5, patience=None)
    assert not finished({}, settings)
    assert not finished(history_of([0.1, 0.2, 0.3, 0.4]), settings)
    assert finished(history_of([0.1, 0.2, 0.3, 0.4, 0.5]), settings)
    assert finished(history_of([0.1, 0.2], [0.1, math.inf]), settings)


def test_the_requested_epoch_is_kept():
    history = history_of([0.5, 0.2, math.nan, 0.3])
    assert best_epoch(history) == 1
    assert [kept_epoch(history, keep) for keep in ("best", "last", 1, 4)] == [1, 3, 0, 3]
    with pytest.raises(UserError, match=r"train.keep is 5, but training stopped after 4 epochs"):
        kept_epoch(history, 5)
    for keep in ("last", 2):
        with pytest.raises(UserError, match=f"train.keep is {keep}, but the loss of epoch 2 is NaN or infinite"):
            kept_epoch(history_of([0.5, 0.2], [0.5, math.nan]), keep)
