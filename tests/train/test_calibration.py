import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from darkroom.train.calibration import fit_temperature, log_loss


def test_without_a_mistake_the_temperature_is_not_0():
    """Ten pictures that are all right do not make a model certain."""
    logits = np.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1, 2, 0]] * 4
    temperature = fit_temperature(logits, logits.argmax(axis=1))
    assert softmax(logits / temperature, axis=1).max(axis=1)[0] == pytest.approx(1 - 1 / 12, abs=0.001)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.2, 8), st.integers(0, 2**31))
def test_the_temperature_by_which_logits_were_multiplied_is_found(temperature, seed):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(4000, 5)) * 2
    labels = np.array([random.choice(5, p=row) for row in softmax(logits, axis=1)])
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.15)


def test_log_loss():
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    assert log_loss(np.log(probabilities), np.array([1, 1])) == pytest.approx(-(np.log(0.25) + np.log(0.8)) / 2)
