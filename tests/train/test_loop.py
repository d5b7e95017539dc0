"""Gradient descent on features and pictures of real pictures: heads, and networks from scratch."""

import json
import re
import sys
import textwrap

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from darkroom.core import runtime
from darkroom.core.errors import UserError
from darkroom.models import forward
from darkroom.train import loop
from tests.helpers.project import ROOT, run
from tests.helpers.training import fitted_head, from_scratch, session, weights_bytes

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.fixture
def in_split_project(split, monkeypatch):
    """Work in the split project."""
    monkeypatch.chdir(split)


def rates(schedule, history):
    """The expected rates after 8 epochs that begin with 0.1."""
    if schedule == "constant":
        return [0.1] * 8
    if schedule == "cosine":  # the last ends at 0
        return [0.05 * (1 + np.cos(np.pi * (epoch + 1) / 8)) for epoch in range(8)]
    expected, rate, lowest = [], 0.1, np.inf
    for loss in history["val_loss"]:  # a patience of one epoch
        expected.append(rate)
        rate = rate if loss < lowest else 0.1 * rate
        lowest = min(loss, lowest)
    return expected


@pytest.mark.parametrize(
    ("schedule", "changes"),
    [
        ("constant", {"optimizer": "rmsprop", "momentum": 0.5}),
        ("cosine", {"optimizer": "adamw", "weight_decay": 0.1}),
        ("plateau", {"optimizer": "sgd", "momentum": 0.9, "nesterov": True}),
    ],
)
def test_every_optimizer_and_schedule_learns_real_classes(features, schedule, changes):
    """Every epoch is logged as it is in the history, and the one with the lowest validation loss is kept."""
    logged = []
    changes |= {"learning_rate": 0.1, "plateau_patience": 1, "plateau_factor": 0.1, "patience": None}
    _, head, history = fitted_head(
        features, log=lambda *row: logged.append(row), schedule=schedule, epochs=8, **changes
    )
    assert history["loss"][-1] < history["loss"][0]
    assert history["learning_rate"] == pytest.approx(rates(schedule, history), abs=1e-6)
    assert [epoch for epoch, _ in logged] == list(range(1, 9))
    assert [figures["val_loss"] for _, figures in logged] == history["val_loss"]
    logits = forward.run(head, features[1])
    labels = features[1].numbers(features[2])
    loss = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels].mean()
    assert loss == pytest.approx(min(history["val_loss"]), rel=1e-4)


def test_training_stops_when_the_validation_loss_no_longer_falls(features):
    """With Adam; one seed gives one set of weights, and label smoothing a less certain head."""
    heads = {}
    for name, seed, smoothing in (("first", 1, 0.0), ("again", 1, 0.0), ("other seed", 2, 0.0), ("smooth", 1, 0.3)):
        changes = {"label_smoothing": smoothing, "learning_rate": 0.005, "patience": 2, "epochs": 12}
        _, heads[name], history = fitted_head(features, seed, **changes)
        if name == "first":
            assert int(np.argmin(history["val_loss"])) == len(history["val_loss"]) - 3
            assert len(history["val_loss"]) < 12
            assert max(history["val_accuracy"]) > 0.6
    weights = {name: [array.tobytes() for array in head.get_weights()] for name, head in heads.items()}
    assert weights["first"] == weights["again"] != weights["other seed"]
    certain = {name: softmax(forward.run(head, features[1]), axis=1).max(axis=1).mean() for name, head in heads.items()}
    assert certain["smooth"] < certain["first"] - 0.1


def test_a_training_says_how_long_it_takes_at_most(in_split_project, capsys):
    from_scratch(session(), epochs=3)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("train: at most")]
    assert len(lines) == 1
    assert re.fullmatch(r"train: at most 2 more epochs, which take \d\d:\d\d", lines[0])


def test_a_rate_that_is_too_high_is_named(features):
    with pytest.raises(
        UserError, match=r"the loss is NaN or infinite .*: train.learning_rate 10000000000.0 is too high"
    ):
        fitted_head(features, optimizer="sgd", learning_rate=1e10)


def test_steps_and_epochs_of_one_length_are_one_training(features):
    """420 rows in batches of 32 are 14 steps; whether they are called an epoch or not changes nothing."""
    _, head, by_epochs = fitted_head(features, epochs=2)
    _, same, by_steps = fitted_head(features, epochs=99, steps=28, validate_every=14)
    assert all((a == b).all() for a, b in zip(head.get_weights(), same.get_weights(), strict=True))
    assert by_epochs == by_steps
    _, _, rarely = fitted_head(features, epochs=99, steps=28, validate_every=28)
    assert rarely["val_loss"] == by_epochs["val_loss"][-1:]


def test_one_seed_gives_one_network(in_split_project):
    """Changing and mixed pictures included, and with the device named; one that this machine lacks is an error."""
    changing = {"online": {"preset": "tutorial"}, "mixup": 0.2, "cutmix": 0.5}
    networks = []
    for seed, device in ((1, None), (1, "cpu:0"), (2, None)):
        with runtime.device_scope("none", device):
            networks.append(
                weights_bytes(from_scratch(session(seed), network="dense", scratch=changing, epochs=1).model)
            )
    assert networks[0] == networks[1] != networks[2]
    with (
        pytest.raises(UserError, match=r"train.device is gpu:7, but this machine has cpu:0"),
        runtime.device_scope("none", "gpu:7"),
    ):
        pass


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_the_loss_is_scaled_where_gradients_would_be_lost(in_split_project, monkeypatch, precision):
    """That is in float16; the trained network is kept in float32 in any case."""
    used = []
    fit = keras.Model.fit
    monkeypatch.setattr(keras.Model, "fit", lambda model, *a, **k: used.append(model.optimizer) or fit(model, *a, **k))
    changes = {"network": "dense", "epochs": 2, "precision": precision, "learning_rate": 1e-3}
    model, history, report = from_scratch(session(), **changes)
    assert isinstance(used[0], keras.optimizers.LossScaleOptimizer) == (precision == "mixed_float16")
    assert history["loss"][1] < history["loss"][0]
    assert {layer.compute_dtype for layer in model.head.layers} == {"float32"}
    assert report == {"precision": precision, "precision_reason": "set in params.yaml"}


MIRRORED = """
    import json, sys
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras
    from darkroom.core import runtime
    from tests.helpers.training import from_scratch, session
    runtime.prepare(1, log_devices=True)
    keras.layers.Dropout.call = lambda self, inputs, training=False: inputs
    with runtime.device_scope("mirrored", None):
        model, history, _ = from_scratch(session(), **json.loads(sys.argv[1]))
    print("RESULT", json.dumps([history, [float(abs(array).sum()) for array in model.head.get_weights()]]))
"""


@pytest.mark.full
@pytest.mark.parametrize(("network", "near"), [("dense", 1e-5), ("small_resnet", 2e-3)])
def test_two_devices_train_what_one_does(in_split_project, monkeypatch, network, near):
    """Half of each batch on each; 90 pictures are three batches of 30. Batch norm is over both halves.

    The process logs the device of each operation too.
    """
    # SGD, since Adam makes much of the smallest difference.
    changes = {"network": network, "epochs": 3, "optimizer": "sgd", "learning_rate": 1e-3, "precision": "float32"}
    # Each device would draw its own.
    monkeypatch.setattr(keras.layers.Dropout, "call", lambda self, inputs, training=False: inputs)
    model, history, _ = from_scratch(session(), batch_size=30, **changes)
    words = (sys.executable, "-c", textwrap.dedent(MIRRORED), json.dumps({**changes, "batch_size": 15}))
    # TensorFlow's level of logging in this process would apply to its child.
    done = run(*words, cwd=".", PYTHONPATH=str(ROOT), TF_CPP_MIN_LOG_LEVEL="0")
    assert "mirrored on /device:CPU:0, /device:CPU:1" in done.stdout
    other_history, sums = json.loads(done.stdout.rpartition("RESULT ")[2].splitlines()[0])
    for name, values in history.items():
        assert other_history[name] == pytest.approx(values, rel=near, abs=near), name
    assert sums == pytest.approx([float(abs(array).sum()) for array in model.head.get_weights()], rel=near)
    assert any("device:CPU:1" in line for line in done.stderr.splitlines())


def test_devices_are_logged_only_on_request(monkeypatch):
    calls = []
    monkeypatch.setattr("tensorflow.debugging.set_log_device_placement", calls.append)
    runtime.prepare(1)
    assert calls == [False]


@pytest.mark.parametrize(("steps", "count"), [(1, 1), (8, 8), (66, 22), (83, 1), (164, 4), (320, 32)])
def test_steps_are_taken_together_if_their_number_allows_it(steps, count):
    assert loop.steps_per_execution(steps) == count


def test_steps_taken_together_are_the_same_steps(features, monkeypatch):
    weights, histories = [], []
    for most in (1, 32):  # of 14 in an epoch
        monkeypatch.setattr(loop, "MOST_STEPS", most)
        _, head, history = fitted_head(features, epochs=3)
        weights.append(head.get_weights())
        histories.append(history)
    assert all((a == b).all() for a, b in zip(*weights, strict=True))
    assert histories[0] == histories[1]


def test_the_average_of_the_weights_is_validated_and_kept_and_training_goes_on_without_it(features):
    """With a decay near 0 it is the last weights; a killed training resumes with the average and without."""
    results = {}
    for decay in (0.0, 1e-7, 0.9):
        _, head, history = fitted_head(features, epochs=3, ema=decay)
        results[decay] = [*head.get_weights()], history
    for same, expected in zip(results[1e-7][0], results[0.0][0], strict=True):
        assert same == pytest.approx(expected, abs=1e-5)
    assert results[0.9][1]["loss"] == pytest.approx(results[0.0][1]["loss"], rel=1e-6)
    assert results[0.9][1]["val_loss"] != pytest.approx(results[0.0][1]["val_loss"], rel=1e-4)


def test_an_interrupted_average_goes_on(features, monkeypatch):
    heads = []
    work = session()
    for stop in (None, 2):
        with monkeypatch.context() as patch:
            if stop:
                work = session()
                save = loop.Checkpoints.save

                def interrupted(self, model, history, over, save=save):
                    save(self, model, history, over)
                    if len(history["loss"]) == 2:
                        raise KeyboardInterrupt

                patch.setattr(loop.Checkpoints, "save", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    fitted_head(features, work=work, epochs=5, ema=0.9)
        heads.append(fitted_head(features, work=work, epochs=5, ema=0.9)[1])
    assert all((a == b).all() for a, b in zip(*(head.get_weights() for head in heads), strict=True))
