"""Sharpness-aware steps."""

import keras
import numpy as np
import pytest

from darkroom.train.sharpness import SharpnessAware
from tests.helpers.training import fitted_head

pytestmark = pytest.mark.usefixtures("tensorflow")


def test_a_step_takes_the_gradient_at_the_worst_place_near_the_weights():
    """Loss (w - 3)^2 at w = 1: uphill lies 0.5, where the gradient is -5."""
    inputs = keras.Input((1,))
    model = SharpnessAware(inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs))
    model.radius = 0.5
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    ones = np.ones((4, 1), np.float32)
    model.fit(ones, 3 * ones, batch_size=4, verbose=0)
    assert model.get_weights()[0].item() == pytest.approx(1 + 0.1 * 5)


def test_a_radius_of_nearly_nothing_is_an_ordinary_training(features):
    results = [fitted_head(features, epochs=3, head={"dropout": 0.0}, sam=radius)[2] for radius in (0.0, 1e-6, 0.05)]
    assert results[1]["loss"] == pytest.approx(results[0]["loss"], rel=1e-3)
    assert results[1]["val_loss"] == pytest.approx(results[0]["val_loss"], rel=1e-3)
    assert results[2]["val_loss"] != pytest.approx(results[0]["val_loss"], rel=2e-3)
    assert results[2]["val_accuracy"][-1] > 0.6
