"""How long training lasts, which epoch stays, what a state keeps: on features and pictures of real pictures."""

import json
import math
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from darkroom.core import runtime
from darkroom.core.errors import UserError
from darkroom.images.decode import decode
from darkroom.images.folders import listed
from darkroom.models.inputs import Pictures
from darkroom.train import checkpoints, loop
from darkroom.train.batches import Batches
from stages import train
from tests.helpers.pictures import CLASSES
from tests.helpers.project import run
from tests.helpers.training import descent, session

LOSSES = st.lists(st.sampled_from([0.5, 0.7, 0.9, 1.1]), min_size=1, max_size=12)


def params(**changes):
    """Mode `scratch` on small pictures, by a network with batch norm and dropout."""
    known = {"mode": "scratch", "network": "fashion_cnn", "head": {"type": "dense", "hidden": [], "dropout": 0.0}}
    scratch = {"image_size": [28, 28], "color": "grey", **changes.pop("scratch", {})}
    descent = {"epochs": 3, "patience": None, "batch_size": 16, "optimizer": "adam", "learning_rate": 1e-4}
    return train.Params(**{**known, **descent, "scratch": scratch, **changes})


def scratch(work, **changes):
    """What a training from scratch comes to: the model and its history."""
    runtime.prepare(work.seed)
    model, history, _ = train.scratch(params(**changes), {"backbone": None}, work, work.state)
    return model, history


def bytes_of(model):
    return b"".join(array.tobytes() for array in model.head.get_weights())


def history_of(losses, others=None):
    return {"loss": others or [0.5] * len(losses), "val_loss": losses}


def epochs_by_keras(losses, callback, how):
    """So many epochs Keras' callback lets through, and the rate after each."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(how.learning_rate), "mse")
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, loss in enumerate(losses):
        callback.on_epoch_end(epoch, {"val_loss": loss})
        rates.append(float(model.optimizer.learning_rate))
        if model.stop_training:
            break
    return rates


@settings(max_examples=60, deadline=None)
@given(LOSSES, st.integers(1, 4))
@example([0.5, math.nan, math.nan, 0.4], 2)  # Keras takes one that comes first for the best
def test_stopping_is_that_of_keras(losses, patience):
    how = descent(epochs=len(losses), patience=patience)
    ours = next(n for n in range(1, len(losses) + 1) if loop.finished(history_of(losses[:n]), how))
    assert ours == len(epochs_by_keras(losses, keras.callbacks.EarlyStopping("val_loss", patience=patience), how))


@settings(max_examples=60, deadline=None)
@given(LOSSES, st.integers(1, 4), st.sampled_from([0.1, 0.5]))
def test_the_plateau_is_that_of_keras(losses, patience, factor):
    how = descent(plateau_patience=patience, plateau_factor=factor, learning_rate=0.1)
    callback = keras.callbacks.ReduceLROnPlateau("val_loss", factor=factor, patience=patience, min_delta=0, min_lr=0)
    theirs = epochs_by_keras(losses, callback, how)
    assert [loop.plateau_rate(losses[:n], how) for n in range(1, len(losses) + 1)] == pytest.approx(theirs, 1e-5)


def test_without_patience_training_never_stops_early():
    how = descent(epochs=5, patience=None)
    assert not loop.finished(history_of([0.1, 0.2, 0.3, 0.4]), how)
    assert loop.finished(history_of([0.1, 0.2, 0.3, 0.4, 0.5]), how)
    assert loop.finished(history_of([0.1, 0.2], [0.1, math.inf]), how)


def test_the_epoch_that_is_kept_is_the_one_that_was_asked_for():
    history = history_of([0.5, 0.2, math.nan, 0.3])
    for keep in ("last", 2):  # what fell apart is no model
        with pytest.raises(UserError, match=f"train.keep is {keep}, but the loss of epoch 2 is no number"):
            loop.kept(history_of([0.5, 0.2], [0.5, math.nan]), keep)
    assert [loop.kept(history, keep) for keep in ("best", "last", 1, 4)] == [1, 3, 0, 3]
    with pytest.raises(UserError, match=r"train.keep is 5, but training stopped after 4 epochs"):
        loop.kept(history, 5)


def test_steps_and_epochs_of_one_length_are_one_training(tuning):
    """90 pictures in batches of 16 are six steps; whether they are called an epoch or not changes nothing."""
    whole, by_epochs = scratch(session(), epochs=4)
    again, by_steps = scratch(session(), epochs=99, steps=24, validate_every=6)
    assert bytes_of(whole) == bytes_of(again)
    assert by_epochs == by_steps
    _, rarely = scratch(session(), epochs=99, steps=24, validate_every=12, keep="last")
    assert len(rarely["val_loss"]) == 2
    assert rarely["val_loss"][-1] == by_epochs["val_loss"][-1]


def test_a_finished_training_gives_any_epoch_without_training_again(tuning):
    work = session()
    models = {}
    for keep in ("best", "last", 1, 2):
        before = {path: path.stat().st_mtime_ns for path in work.state.rglob("*.npz")}
        models[keep], history = scratch(work, keep=keep, checkpoints="all", learning_rate=1e-3, epochs=4)
        if keep != "best":
            assert {path: path.stat().st_mtime_ns for path in work.state.rglob("*.npz")} == before
    val = Pictures(listed("val"), (28, 28))
    labels = val.numbers(CLASSES)
    expected = {"best": int(np.argmin(history["val_loss"])), "last": 3, 1: 0, 2: 1}
    for keep, model in models.items():
        from darkroom.train.calibration import log_loss

        assert log_loss(model.logits(val), labels) == pytest.approx(history["val_loss"][expected[keep]], rel=1e-4)
    assert len({bytes_of(model) for model in models.values()}) == len(set(expected.values()))


def test_only_what_may_be_wanted_is_kept_on_disk(tuning):
    work = session()
    _, history = scratch(work, epochs=3)
    best = int(np.argmin(history["val_loss"])) + 1
    assert sorted(path.name for path in work.state.iterdir()) == [f"epoch-{best:04d}.npz", "state.npz"]
    with np.load(work.state / "state.npz") as file:
        assert json.loads(str(file["history"])) == history
        assert not any(name.startswith("optimizer") for name in file.files)  # it is over


@pytest.mark.parametrize("damaged", ["state.npz", "epoch-*.npz"])
def test_a_state_that_cannot_be_read_is_no_state(tuning, capsys, damaged):
    work = session()
    model, _ = scratch(work)
    (path,) = work.state.glob(damaged)
    path.write_bytes(path.read_bytes()[:5000])
    again, _ = scratch(work)
    assert "cannot be read: the training begins anew" in capsys.readouterr().out
    assert bytes_of(model) == bytes_of(again)


def test_one_seed_gives_one_network(tuning):
    """Pictures that change each epoch and mixing included."""
    changing = {"online": {"preset": "tutorial"}, "mixup": 0.2, "cutmix": 0.5}
    found = [bytes_of(scratch(session(seed), scratch=changing, epochs=2)[0]) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_the_key_of_a_state_holds_all_that_changes_it(tuning):
    paths = [tuning / "data/split/train", tuning / "data/split/val"]
    key = checkpoints.folder({"epochs": 3}, paths)
    assert checkpoints.folder({"epochs": 3}, paths) == key
    assert checkpoints.folder({"epochs": 4}, paths) != key
    picture = next((tuning / "data/split/train").rglob("*.png"))
    picture.write_bytes(picture.read_bytes() + b"\0")
    assert checkpoints.folder({"epochs": 3}, paths) != key


def test_without_shuffling_rows_come_by_file_name(tuning):
    for label in CLASSES:
        for number, path in enumerate(sorted((tuning / "data/split/train" / label).iterdir())):
            path.rename(path.with_name(f"{3 * number + CLASSES.index(label)}.png"))
    pictures = Pictures(listed("train"), (28, 28))
    batches = Batches(pictures, CLASSES, descent(shuffle=False, batch_size=45), 1)
    names = [int(pictures.paths[row].rsplit("/", 1)[1].removesuffix(".png")) for row in batches.order(1)]
    assert names == list(range(90))
    assert (batches[0][0] == batches[2][0]).all()  # the next pass
    assert batches[0][1].argmax(axis=1).tolist() == [0, 1, 2] * 15


def test_a_stream_gives_every_step_its_batch_from_any_step_on(tuning):
    batches = Batches(Pictures(listed("train"), (28, 28)).hold(), CLASSES, descent(batch_size=32), 1)
    for first in (0, 4):
        for step, batch in zip(range(first, first + 5), batches.stream(first), strict=False):
            for tensor, array in zip(batch, batches[step], strict=True):
                assert (tensor.numpy() == array).all()


def test_pictures_in_memory_are_those_on_disk(tuning, monkeypatch):
    for size in ((28, 28), (40, 24)):
        fresh, held = Pictures(listed("val"), size), Pictures(listed("val"), size).hold()
        assert held._held is not None
        some = np.array([7, 3, 21])
        assert (fresh.rows(some) == held.rows(some)).all()
    pixels = decode(listed("val")[3].path)
    assert (Pictures(listed("val"), (28, 28)).rows(slice(3, 4))[0] == pixels).all()
    monkeypatch.setattr("stages.common.models.inputs.SHARE_OF_MEMORY", 0)
    assert Pictures(listed("val"), (28, 28)).hold()._held is None


def test_class_weights_count_in_a_training_from_scratch(tuning):
    for path in sorted((tuning / "data/split/train/Bag").iterdir())[6:]:
        path.unlink()
    pictures = Pictures(listed("train"), (28, 28))
    batches = Batches(pictures, CLASSES, descent(class_weights="balanced", batch_size=66), 1)
    _, classes, weights = batches[0]
    total = (classes * weights[:, None]).sum(axis=0)
    assert total == pytest.approx([22, 22, 22])


def test_length_and_kept_epoch_must_go_together():
    for changes, sentence in (
        ({"steps": 10}, "steps 10 must be a multiple of validate_every, not None"),
        ({"steps": 10, "validate_every": 4}, "steps 10 must be a multiple of validate_every, not 4"),
        ({"keep": 3}, "keep 3 needs checkpoints: all"),
        ({"keep": 4, "checkpoints": "all"}, "keep 4 is an epoch after the last one, 3"),
        ({"mode": "fine_tune", "steps": 4, "validate_every": 2}, "steps is for modes head and scratch"),
        ({"device": "cpu:0", "strategy": "mirrored"}, "strategy mirrored is for several devices, but device is cpu:0"),
        ({"head": {"type": "dense", "hidden": [4], "dropout": [0.1]}}, "dropout has 1 values, but there are 2 dense"),
    ):
        with pytest.raises(ValueError, match=sentence):
            params(**changes)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_the_loss_is_scaled_where_gradients_would_be_lost(tuning, monkeypatch, precision):
    """In float16; what is kept of the training is a float32 network either way."""
    used = []
    fit = keras.Model.fit
    monkeypatch.setattr(keras.Model, "fit", lambda model, *a, **k: used.append(model.optimizer) or fit(model, *a, **k))
    model, history = scratch(session(), network="dense", epochs=2, precision=precision, learning_rate=1e-3)
    assert isinstance(used[0], keras.optimizers.LossScaleOptimizer) == (precision == "mixed_float16")
    assert history["loss"][1] < history["loss"][0]
    assert {layer.compute_dtype for layer in model.head.layers} == {"float32"}


MIRRORED = """
    import json, sys
    import tensorflow as tf
    from stages.common import hardware
    devices, batch, changes = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    import keras
    from tests.test_training import scratch, session
    keras.layers.Dropout.call = lambda self, inputs, training=False: inputs  # each device would draw its own
    runtime.prepare(1)
    with runtime.device_scope("mirrored" if devices > 1 else "none", None):
        model, history = scratch(session(), batch_size=batch, **changes)
    print("RESULT", json.dumps([history, [float(abs(array).sum()) for array in model.head.get_weights()]]))
"""


@pytest.mark.parametrize(
    ("network", "near"),
    [("dense", 1e-5), pytest.param("small_resnet", 2e-3, marks=pytest.mark.full)],
)
def test_two_devices_come_to_what_one_does(tuning, network, near):
    """Half of each batch on each; 90 pictures are three batches of 30. Batch norm is over both halves."""
    (tuning / "mirrored.py").write_text(textwrap.dedent(MIRRORED))
    results = []
    for devices, batch in ((1, 30), (2, 15)):
        # SGD, since Adam makes much of the smallest difference
        changes = {"network": network, "epochs": 3, "optimizer": "sgd", "learning_rate": 1e-3}
        done = run(sys.executable, "mirrored.py", str(devices), str(batch), json.dumps(changes), cwd=tuning,
                   PYTHONPATH=str(Path(__file__).parents[1]))  # fmt: skip
        assert ("mirrored on /device:CPU:0, /device:CPU:1" in done.stdout) == (devices == 2)
        results.append(json.loads(done.stdout.rpartition("RESULT ")[2]))
    (one, weights), (two, others) = results
    for name, values in one.items():
        assert two[name] == pytest.approx(values, rel=near, abs=near), name
    assert others == pytest.approx(weights, rel=near)


def test_a_device_that_is_not_there_is_named(tuning):
    with (
        pytest.raises(UserError, match=r"train.device is gpu:7, but this machine has cpu:0"),
        runtime.device_scope("none", "gpu:7"),
    ):
        pass
    with runtime.device_scope("none", "cpu:0"):
        assert scratch(session(), epochs=1)[1]["val_loss"]


@pytest.mark.parametrize("wanted", [True, False])
def test_where_each_operation_runs_is_said_if_wanted(tmp_path, wanted):
    code = f"""
        from stages.common import hardware
        runtime.prepare(1, log_devices={wanted})
        import tensorflow as tf
        tf.function(tf.matmul)(tf.ones((2, 2)), tf.ones((2, 2)))
    """
    # What the test process has set for itself would go on to its child.
    done = run(sys.executable, "-c", textwrap.dedent(code), cwd=tmp_path, TF_CPP_MIN_LOG_LEVEL="3",
               PYTHONPATH=str(Path(__file__).parents[1]))  # fmt: skip
    said = [line for line in (done.stdout + done.stderr).splitlines() if "MatMul" in line and "device:CPU:0" in line]
    assert bool(said) == wanted
