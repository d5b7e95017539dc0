"""The moving average of the weights."""

import keras
import numpy as np
import pytest

from darkroom.train.averaging import exchange
from darkroom.train.optimizers import OPTIMIZERS, optimizer
from tests.helpers.training import descent

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_average_decays_and_exchanging_it_twice_changes_nothing(name):
    """It decays by 0.75 once 0.75 is less than t / (9 + t)."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer(descent(optimizer=name, learning_rate=0.1, ema=0.75), 10), "mse", jit_compile=False)
    model.optimizer.finalize_variable_values = lambda variables: None  # else Keras keeps the average
    x, expected = np.ones((1, 1), np.float32), 0.0
    for step in range(40):
        model.fit(x, 3 * x, verbose=0, shuffle=False)
        weight = model.get_weights()[0].item()
        decay = min(0.75, step / (9 + step))
        expected = decay * expected + (1 - decay) * weight
    exchange(model)
    assert model.get_weights()[0].item() == pytest.approx(expected, rel=1e-5)
    exchange(model)
    assert model.get_weights()[0].item() == weight
