import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.train import fused_adam
from darkroom.train.optimizers import OPTIMIZERS, optimizer, plateau_rate, rates
from darkroom.train.params import Params
from tests.helpers.training import descent, epochs_by_keras

pytestmark = pytest.mark.usefixtures("tensorflow")


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from([0.5, 0.7, 0.9, 1.1]), min_size=1, max_size=12),
    st.integers(1, 4),
    st.sampled_from([0.1, 0.5]),
)
def test_the_plateau_is_that_of_keras(losses, patience, factor):
    settings = descent(plateau_patience=patience, plateau_factor=factor, learning_rate=0.1)
    callback = keras.callbacks.ReduceLROnPlateau("val_loss", factor=factor, patience=patience, min_delta=0, min_lr=0)
    expected = epochs_by_keras(losses, callback, rate=0.1)
    assert [plateau_rate(losses[:n], settings) for n in range(1, len(losses) + 1)] == pytest.approx(expected, 1e-5)


def test_every_optimizer_gets_its_settings():
    assert {name: type(optimizer(descent(optimizer=name), 10)).__name__ for name in OPTIMIZERS} == {
        "adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop"
    }  # fmt: skip
    nesterov = optimizer(descent(optimizer="sgd", momentum=0.9, nesterov=True), 10)
    assert (nesterov.momentum, nesterov.nesterov) == (0.9, True)
    assert optimizer(descent(optimizer="rmsprop", momentum=0.5), 10).momentum == 0.5
    decays = [optimizer(descent(optimizer="adamw", **decay), 10).weight_decay for decay in ({}, {"weight_decay": 0.1})]
    assert decays == [0.004, 0.1]
    assert optimizer(descent(optimizer="adam"), 10).weight_decay is None
    with pytest.raises(ValueError, match="should be 'adam', 'adamw', 'sgd' or 'rmsprop'"):
        Params(optimizer="lion")


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_fused_adam_is_that_of_keras(name, schedule):
    settings = descent(optimizer=name, schedule=schedule, learning_rate=0.01, weight_decay=0.1)
    random = np.random.default_rng(1)
    x, y = random.normal(size=(64, 5)).astype("float32"), random.normal(size=(64, 1)).astype("float32")
    weights = []
    for of_keras in (True, False):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])
        ours = optimizer(settings, 80)
        method = getattr(keras.optimizers, type(ours).__name__).from_config(ours.get_config()) if of_keras else ours
        model.compile(method, "mse", jit_compile=False)
        model.fit(x, y, batch_size=16, epochs=20, shuffle=False, verbose=0)
        weights.append(np.concatenate([weight.ravel() for weight in model.get_weights()]))
    assert isinstance(ours, fused_adam.Adam if name == "adam" else fused_adam.AdamW)
    assert np.abs(weights[0] - weights[1]).max() < 1e-5
    assert np.abs(weights[0]).max() > 0.1


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_rate_rises_in_the_warm_up(schedule):
    settings = descent(schedule=schedule, warmup_epochs=2, epochs=10, learning_rate=0.1)
    values = [float(rates(settings, steps=5)(step)) for step in range(51)]
    assert values[:11] == pytest.approx([0.01 * step for step in range(11)])
    after = 0.1 if schedule == "constant" else 0.05 * (1 + np.cos(np.pi * np.arange(41) / 40))
    assert values[10:] == pytest.approx(np.broadcast_to(after, 41), abs=1e-7)
    with pytest.raises(ValueError, match="warmup_epochs is for schedules constant and cosine, not for plateau"):
        descent(schedule="plateau", warmup_epochs=1)
