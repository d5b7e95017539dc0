import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from darkroom.core import runtime
from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.models import classifier
from darkroom.models.inputs import Features
from darkroom.train.batches import Batches
from darkroom.train.calibration import fit_temperature
from stages import train
from tests.helpers.training import descent, session


@pytest.fixture(scope="module")
def features(project):
    """Training and validation features of the small project, and its class names."""
    both = [Features(project / "data/features", part, ["block3_pool"]) for part in ("train", "val")]
    return (*both, sorted(set(both[0].labels)))


def params(**changes):
    head = {"type": "dense", "hidden": [32], "dropout": 0.2, **changes.pop("head", {})}
    known = {"mode": "head", "head": head, "epochs": 4, "patience": 5, "batch_size": 32, "optimizer": "adam"}
    return train.Params(**{**known, "learning_rate": 0.001, **changes})


def fitted(features, seed=1, **changes):
    runtime.prepare(seed)
    logged = []
    log = lambda epoch, metrics: logged.append((epoch, metrics))  # noqa: E731
    _, head, history = train.fit_head(params(**changes), *features, session(seed, log))
    return head, history, logged


def test_it_learns_real_classes(features):
    _, history, logged = fitted(features, epochs=8)
    assert history["val_accuracy"][-1] > 0.6  # chance is 0.1
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert [epoch for epoch, _ in logged] == list(range(1, 9))
    assert logged[-1][1]["val_loss"] == history["val_loss"][-1]


def test_the_best_epoch_is_kept(features):
    """With a rate that is too high the loss soon rises again."""
    head, history, _ = fitted(features, epochs=12, patience=2, learning_rate=0.02)
    best = int(np.argmin(history["val_loss"]))
    assert best < len(history["val_loss"]) - 1
    logits = head.predict(features[1].rows(), verbose=0)
    labels = features[1].numbers(features[2])
    again = -log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean()
    assert again == pytest.approx(history["val_loss"][best], rel=1e-4)


def test_a_rate_that_is_too_high_is_named(features):
    with pytest.raises(UserError, match=r"the loss is no number .*: train.learning_rate 1e\+30 is too high"):
        fitted(features, optimizer="sgd", learning_rate=1e30)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau"])
def test_every_schedule_is_kept(features, schedule):
    changes = {"schedule": schedule, "learning_rate": 0.1, "plateau_patience": 1, "plateau_factor": 0.1}
    _, history, _ = fitted(features, epochs=8, patience=8, **changes)
    rates = history["learning_rate"]
    if schedule == "constant":
        assert rates == pytest.approx([0.1] * 8)
    elif schedule == "cosine":  # after each epoch; the last ends at 0
        assert rates == pytest.approx([0.05 * (1 + np.cos(np.pi * (epoch + 1) / 8)) for epoch in range(8)], abs=1e-6)
    else:
        worse = [later > min(history["val_loss"][: at + 1]) for at, later in enumerate(history["val_loss"][1:])]
        first = worse.index(True) + 1  # the rate falls after that epoch
        assert rates[: first + 1] == pytest.approx([0.1] * (first + 1))
        assert rates[first + 1] == pytest.approx(0.01)


def test_one_seed_gives_one_set_of_weights(features):
    weights = [[array.tobytes() for array in fitted(features, seed)[0].get_weights()] for seed in (1, 1, 2)]
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adam"},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
        {"optimizer": "rmsprop", "momentum": 0.5},
    ],
)
def test_every_optimizer_lowers_the_loss(features, changes):
    _, history, _ = fitted(features, **changes)
    assert history["loss"][-1] < history["loss"][0]


def test_the_optimizers_settings_arrive():
    from darkroom.train.loop import optimizer

    nesterov = optimizer(params(optimizer="sgd", momentum=0.9, nesterov=True), 10)
    assert (nesterov.momentum, nesterov.nesterov) == (0.9, True)
    assert optimizer(params(optimizer="rmsprop", momentum=0.5), 10).momentum == 0.5
    decays = [optimizer(params(optimizer="adamw", **more), 10).weight_decay for more in ({}, {"weight_decay": 0.1})]
    assert decays == [0.004, 0.1]
    assert optimizer(params(optimizer="adam"), 10).weight_decay is None


def test_an_epoch_sees_every_row_once_in_an_order_of_its_own(features):
    batches = Batches(features[0], features[2], descent(), seed=1)
    steps = iter(batches.stream(0))
    for _ in range(2):
        labels = np.concatenate([next(steps)[1].numpy().argmax(axis=1) for _ in range(batches.in_a_pass)])
        assert sorted(labels) == sorted(features[0].numbers(features[2]))
    assert (batches.order(0) != batches.order(1)).any()
    first, numbers = batches[0]
    rows = batches.order(0)[:32]
    assert (first == features[0].rows(rows)).all()
    assert [features[2][number] for number in numbers.argmax(axis=1)] == [features[0].labels[row] for row in rows]


def test_without_a_mistake_the_temperature_is_not_nothing():
    """Ten pictures that are all right do not make a model certain."""
    logits = np.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1, 2, 0]] * 4
    temperature = fit_temperature(logits, logits.argmax(axis=1))
    assert softmax(logits / temperature, axis=1).max(axis=1)[0] == pytest.approx(1 - 1 / 12, abs=0.001)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.2, 8), st.integers(0, 2**31))
def test_the_temperature_that_was_put_in_is_found(temperature, seed):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(4000, 5)) * 2
    labels = np.array([random.choice(5, p=row) for row in softmax(logits, axis=1)])
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.15)


def test_the_outputs_say_what_happened(project):
    report = json.loads((project / "reports/train.json").read_text())
    history = read_csv(project / "reports/history.csv")
    assert report["epochs"] == len(history) <= 6
    assert report["model_sha256"] == classifier.digest(project / "models")
    best = min(history, key=lambda row: float(row["val_loss"]))
    assert (report["best_epoch"], report["best_val_loss"]) == (int(best["epoch"]), float(best["val_loss"]))
    assert json.loads((project / "models/classes.json").read_text())[:2] == ["Ankle_boot", "Bag"]


def test_a_saved_model_says_the_same_when_loaded(project, features):
    model = classifier.Classifier.load(project / "models")
    probabilities = model.probabilities(features[1])
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    report = json.loads((project / "reports/train.json").read_text())
    accuracy = (probabilities.argmax(axis=1) == features[1].numbers(model.classes)).mean()
    assert accuracy == pytest.approx(report["best_val_accuracy"], abs=1e-6)
