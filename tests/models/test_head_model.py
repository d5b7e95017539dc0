"""How features are prepared for a head, against NumPy."""

import numpy as np
import pytest

from darkroom.models import forward, head_model
from darkroom.models.inputs import Held
from tests.helpers.training import small_features

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.fixture(scope="module")
def train(project):
    return small_features(project)[0]


@pytest.mark.parametrize("steps", [["one"], ["each"], ["l2"], ["sqrt"], ["sqrt", "each"], ["sqrt", "l2", "each"], []])
def test_features_are_prepared_as_numpy_would(train, steps, monkeypatch):
    monkeypatch.setattr(forward, "VALUES", 100_000)  # so that the scale is fitted in several chunks
    rows = train.rows()
    model = head_model.prepare({"type": "dense", "prepare": steps}, rows.shape[1])
    head_model.fit_scale(model, train)
    x = rows.astype(np.float64)
    for step in steps:
        if step == "sqrt":
            x = np.sign(x) * np.sqrt(np.abs(x))
        elif step == "l2":
            x = x / np.linalg.norm(x, axis=1, keepdims=True)
        else:
            axis = None if step == "one" else 0
            variance = x.var(axis=axis)
            x = (x - x.mean(axis=axis)) / np.sqrt(np.maximum(variance, head_model.LEAST_VARIANCE * np.mean(variance)))
    assert np.abs(forward.run(model, train) - x).max() < 2e-3 * max(1, np.abs(x).max())


def test_layers_are_scaled_one_by_one(train):
    rows = train.rows() * np.repeat([1, 100], [200, train.rows().shape[1] - 200]).astype(np.float32)
    settings = {"type": "rbf_svm", "prepare": ["l2"], "widths": [200, rows.shape[1] - 200]}
    prepared = head_model.prepare(settings, rows.shape[1])(rows).numpy()
    for part, before in ((prepared[:, :200], rows[:, :200]), (prepared[:, 200:], rows[:, 200:])):
        assert part == pytest.approx(before / np.linalg.norm(before, axis=1, keepdims=True), abs=1e-5)


def test_a_feature_that_hardly_varied_does_not_blow_up(train):
    x = train.rows().copy()
    x[:, 0] = 1.0
    model = head_model.prepare({"type": "dense", "prepare": ["each"]}, x.shape[1])
    head_model.fit_scale(model, Held(x, train))
    new = x[:1].copy()
    new[0, 0] = 2.0
    assert abs(forward.run(model, Held(new, train, slice(0, 1)))[0, 0]) < 1000
