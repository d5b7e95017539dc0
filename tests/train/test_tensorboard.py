"""What lies in the event files of real small trainings, read back by TensorBoard's own reader and by its server."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from darkroom.core import runtime
from darkroom.images.folders import listed
from darkroom.models import networks
from darkroom.models.inputs import Held, Pictures
from darkroom.train import loop, tensorboard
from tests.helpers.pictures import CLASSES
from tests.helpers.training import from_scratch, tuned

pytestmark = pytest.mark.usefixtures("tensorflow")
SMALL = {"name": "dense", "image_size": [8, 8], "color": "rgb", "activation": None}
FIGURES = ["accuracy", "learning_rate", "loss"]
LAYERS = {  # of mini_vggnet, that give something else than they are given
    "scale", "logits", "dense", "activation", "batch_norm", "pool_1", "pool_2",
    *(f"{kind}_{at}" for kind in ("conv", "activation", "batch_norm") for at in ("1_1", "1_2", "2_1", "2_2")),
}  # fmt: skip


class Like:
    """So many rows without pictures."""

    def __init__(self, rows):
        self.paths, self.labels = [""] * rows, ["Bag"] * rows


def trained(state, **changes):
    """Train mini_vggnet with its state in a folder of that name: the network, and its history."""
    small = {"network": "mini_vggnet", "scratch": {"image_size": [16, 16], "color": "rgb"}, "batch_size": 32}
    small |= {"learning_rate": 0.001, "tensorboard": "activations", "keep": "last"}
    work = loop.Session(1, Path(".cache/training") / state, lambda *_: None)
    result = from_scratch(work, **(small | changes))
    return result.model.head, result.history


def read(folder):
    """Tag to {epoch: value} of the event files in a folder; a value is a number, or rows of left, right, count."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    return {
        tag: {
            event.step: tf.make_ndarray(event.tensor_proto)
            for event in sorted(events.Tensors(tag), key=lambda event: event.step)
        }
        for tag in events.Tags()["tensors"]
    }


def written(folder):
    """How often a value of a tag was written for an epoch, in all event files of a folder."""
    files = [event for path in folder.iterdir() for event in EventFileLoader(str(path)).Load()]
    return Counter((value.tag, event.step) for event in files for value in event.summary.value)


def layers_of(tags):
    return {tag.removeprefix("activations/") for tag in tags if tag.startswith("activations/")}


def curves_are(history, folder, first=1):
    """Each epoch's figures lie there once, under Keras' names."""
    for part, before in (("train", ""), ("validation", "val_")):
        events = {tag: values for tag, values in read(folder / part).items() if tag.startswith("epoch_")}
        names = [name for name in FIGURES if before + name in history]
        assert sorted(events) == [f"epoch_{name}" for name in names]
        for name in names:
            assert list(events[f"epoch_{name}"]) == list(range(first, first + len(history[before + name])))
            assert list(events[f"epoch_{name}"].values()) == pytest.approx(history[before + name], rel=1e-6)
        assert set(written(folder / part).values()) == {1}


def test_curves_histograms_and_sparsity_of_a_network_from_scratch(tuning):
    network, history = trained("0123456789abcdef")
    (folder,) = (tuning / "logs").iterdir()
    assert folder.name == "training-01234567"
    assert sorted(path.name for path in folder.iterdir()) == ["train", "validation"]
    curves_are(history, folder)
    events = read(folder / "validation")
    assert layers_of(events) == LAYERS
    assert {tag.removeprefix("sparsity/") for tag in events if tag.startswith("sparsity/")} == LAYERS
    pixels = Pictures(listed("val"), (16, 16)).rows()
    for name in LAYERS:  # the network has the weights of the last epoch
        values = keras.Model(network.input, network.get_layer(name).output)(pixels, training=False).numpy()
        assert events[f"sparsity/{name}"][3] == pytest.approx((values == 0).mean(), abs=1e-3)
        histogram = events[f"activations/{name}"][3]
        assert histogram[:, 2].sum() == 30 * min(values[0].size, tensorboard.PLACES)
        if values[0].size <= tensorboard.PLACES:
            assert histogram[:, :2].min() == pytest.approx(values.min(), rel=1e-3, abs=1e-5)
            assert histogram[:, :2].max() == pytest.approx(values.max(), rel=1e-3, abs=1e-5)
    assert 0.1 < events["sparsity/activation_1_1"][3] < 0.9
    assert all(list(values) == [1, 2, 3] for values in events.values())


@pytest.mark.full
def test_writing_changes_no_weight_and_a_finished_training_writes_nothing(tuning):
    """All of it, the curves alone, or nothing; and a training that finds its state writes no event again."""
    kinds = ("none", "scalars", "activations")
    networks = {kind: trained(f"{kind}-000", network="dense", epochs=2, tensorboard=kind) for kind in kinds}
    weights = [b"".join(array.tobytes() for array in network.get_weights()) for network, _ in networks.values()]
    assert weights[0] == weights[1] == weights[2]
    assert sorted(path.name for path in (tuning / "logs").iterdir()) == ["training-activati", "training-scalars-"]
    curves_are(networks["scalars"][1], tuning / "logs/training-scalars-")
    assert not layers_of(read(tuning / "logs/training-scalars-/validation"))
    before = {path: path.read_bytes() for path in (tuning / "logs").rglob("events.*")}
    trained("activations-000", network="dense", epochs=2)
    assert {path: path.read_bytes() for path in (tuning / "logs").rglob("events.*")} == before


def test_a_fine_tuned_network_shows_its_own_layers_and_the_heads(vgg16, tmp_path, monkeypatch):
    """Each phase has its folder; a layer of the head has one name in both, though a model holds it in the second."""
    monkeypatch.setenv("DVC_EXP_NAME", "brave-fox")
    changes = {"epochs": 1, "fine_tune": {"epochs": 1}, "tensorboard": "activations", "keep": "last"}
    model, history, report = tuned(vgg16, tmp_path / "models", **changes)
    (folder,) = (tmp_path / "logs").iterdir()
    assert folder.name.startswith("brave-fox-")
    assert sorted(path.name for path in folder.iterdir()) == ["fine_tune", "warm_up"]
    warmed_up = report["warm_up_epochs"]
    curves_are({name: values[:warmed_up] for name, values in history.items()}, folder / "warm_up")
    curves_are({name: values[warmed_up:] for name, values in history.items()}, folder / "fine_tune", warmed_up + 1)
    head = {"one", "hidden_1", "activation_1", "logits"}
    assert layers_of(read(folder / "warm_up/validation")) >= head
    events = read(folder / "fine_tune/validation")
    convolutions = {f"block{block}_conv{number}" for block in (4, 5) for number in (1, 2, 3)}
    pooled = layers_of(events) - head - convolutions - {"block4_pool", "block5_pool"}
    assert len(pooled) == 1
    assert "average_pooling" in pooled.pop()
    maps = model.inputs("val").rows().reshape(30, 4, 4, 256)
    for number in (4, 5):  # VGG16 is a chain of layers
        for layer in model.backbone.layers:
            if layer.name.startswith(f"block{number}_"):
                maps = layer(maps)
                sparsity = events[f"sparsity/{layer.name}"][len(history["loss"])]
                assert sparsity == pytest.approx((maps.numpy() == 0).mean(), abs=1e-3)


class Epochs:
    """The calls by which a training writes its events, without the training."""

    def __init__(self):
        self.network = networks.build(SMALL, 3)
        self.val = Held(np.full((4, 8, 8, 3), 100, np.float32), Like(4))
        names = ("accuracy", "learning_rate", "loss", "val_accuracy", "val_loss")
        self.history = {name: np.random.default_rng(len(name)).uniform(size=6).tolist() for name in names}

    def write(self, last, resumed=0):
        """A new process reports the epochs before the kill once more, and then trains until the last."""
        board = tensorboard.Board(Path("state"), "", "activations")
        for epoch in range(1, last + 1):
            if epoch > resumed:
                board.activations(epoch, self.network, self.val)
            board.scalars(epoch, {name: values[epoch - 1] for name, values in self.history.items()})
        return {name: values[:last] for name, values in self.history.items()}


def test_a_resumed_training_writes_only_what_is_missing(workspace):
    """Also where the kill came after the activations of an epoch, or where the state is older than the events."""
    epochs, folder = Epochs(), workspace / "logs/training-state"
    epochs.write(2)
    for resumed in (2, 1):
        curves_are(epochs.write(4 - resumed, resumed=2), folder)
    history = epochs.write(4, resumed=1)
    curves_are(history, folder)
    assert sorted(step for tag, step in written(folder / "validation") if tag == "sparsity/logits") == [1, 2, 3, 4]


def test_the_order_of_the_files_does_not_matter(workspace):
    """TensorBoard reads them by name, and a name begins with a clock that may have been set back."""
    epochs, folder = Epochs(), workspace / "logs/training-state"
    for last, name in ((2, "events.out.tfevents.2"), (3, "events.out.tfevents.1")):
        epochs.write(last, resumed=last - 1)
        for part in ("train", "validation"):
            (path,) = (path for path in (folder / part).iterdir() if len(path.name) > len(name))
            path.rename(path.with_name(name))
    curves_are(epochs.write(4, resumed=2), folder)


def test_a_curve_that_was_cut_off_or_deleted_is_completed(workspace):
    epochs, folder = Epochs(), workspace / "logs/training-state"
    epochs.write(2)
    (events,) = (folder / "validation").iterdir()
    events.write_bytes(events.read_bytes()[: events.stat().st_size // 3])
    history = epochs.write(3, resumed=2)
    assert list(read(folder / "validation")["epoch_loss"].values()) == pytest.approx(history["val_loss"])
    shutil.rmtree(workspace / "logs")
    curves_are(epochs.write(4, resumed=3), folder)
    assert list(read(folder / "validation")["sparsity/logits"]) == [4]


def test_large_maps_are_looked_at_some_pictures_at_a_time(monkeypatch):
    monkeypatch.setattr(tensorboard, "VALUES", 200_000)
    pixels = keras.Input((40, 40, 3))
    maps = keras.layers.Conv2D(8, 3, activation="relu", padding="same", name="maps")(pixels)
    model = keras.Model(pixels, keras.layers.Dense(3, name="few")(keras.layers.GlobalMaxPooling2D()(maps)))
    rows = np.random.default_rng(1).uniform(-1, 1, (300, 40, 40, 3)).astype(np.float32)
    selections = []

    class Some(Held):
        def rows(self, selection=slice(None)):
            selections.append(selection)
            return super().rows(selection)

    sample = tensorboard.Probe(model).sample(Some(rows, Like(300)))
    assert max(map(len, selections)) * 40 * 40 * 8 <= 200_000
    assert len(np.unique(np.concatenate(selections))) == tensorboard.ROWS
    assert sample["maps"][0].shape == (tensorboard.ROWS, tensorboard.PLACES)
    assert sample["few"][0].shape == (tensorboard.ROWS, 3)
    seen = rows[np.concatenate(selections)]
    assert sample["maps"][1] == pytest.approx(float(np.mean(keras.Model(pixels, maps)(seen).numpy() == 0)), abs=1e-6)


def test_layers_of_one_name_are_told_apart():
    """InceptionV3 and a head both have an activation_1."""
    inside = keras.Input((4,))
    body = keras.Model(inside, keras.layers.Activation("relu", name="activation_1")(inside), name="body")
    inside = keras.Input((4,))
    hidden = keras.layers.Dense(2, name="hidden_1")(inside)
    head = keras.Model(inside, keras.layers.Activation("relu", name="activation_1")(hidden), name="head")
    rows = keras.Input((4,))
    model = keras.Model(rows, head(body(rows)))
    again, layers = tensorboard.every_layer(model)(np.array([[-1.0, 2.0, 3.0, -4.0]], np.float32))
    assert sorted(layers) == ["body/activation_1", "head/activation_1", "hidden_1"]
    assert layers["body/activation_1"].numpy().tolist() == [[0, 2, 3, 0]]
    assert (again.numpy() == layers["head/activation_1"].numpy()).all()


def test_reduced_precision_and_no_numbers(workspace):
    """Values of 16 bits are shown like others; of a layer that overflows what is still a number."""
    network = networks.build(SMALL, 3, "mixed_bfloat16")
    weights = network.get_weights()
    network.set_weights([*weights[:-1], np.full(3, np.nan, np.float32)])

    board = tensorboard.Board(Path("state"), "", "activations")
    board.activations(1, network, Held(np.full((4, 8, 8, 3), 100, np.float32), Like(4)))
    events = read(workspace / "logs/training-state/validation")
    assert events["activations/dense_1"][1][:, 2].sum() == 4 * 500
    assert events["activations/logits"][1].sum() == 0
    assert events["sparsity/logits"][1] == 0


def test_on_several_devices(tuning):
    """A mirrored model is looked into like any other."""
    with runtime.device_scope("mirrored", None):
        _, history = trained("0" * 24, epochs=1, network="dense")
    curves_are(history, tuning / "logs/training-00000000")
    assert layers_of(read(tuning / "logs/training-00000000/validation")) == {"scale", "dense_1", "dense_2", "logits"}


@pytest.mark.full
def test_tensorboard_shows_it(tuning):
    """The program itself, on the logs of two trainings of which one was interrupted."""
    trained("0" * 24, epochs=2)
    _, history = trained("0" * 24, epochs=4)
    trained("1" * 24, tensorboard="scalars")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = str(Path(sys.executable).parent / "tensorboard")
    command = [program, "--logdir", "logs", "--host", "127.0.0.1", "--port", str(port)]
    with Path("tensorboard.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def ask(path, **query):
        address = f"http://127.0.0.1:{port}/data/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)

    ends = time.monotonic() + 120
    first, runs = "training-00000000/validation", []
    try:
        while len(runs) < 4 or "epoch_loss" not in ask("plugin/scalars/tags").get(first, {}):
            assert process.poll() is None, Path("tensorboard.log").read_text()
            assert time.monotonic() < ends, Path("tensorboard.log").read_text()
            time.sleep(0.5)
            try:
                runs = ask("runs")
            except urllib.error.URLError:
                continue
        assert sorted(runs) == [
            f"training-{name}/{part}" for name in ("0" * 8, "1" * 8) for part in ("train", "validation")
        ]
        scalars = ask("plugin/scalars/tags")
        assert sorted(scalars["training-00000000/train"]) == [f"epoch_{name}" for name in FIGURES]
        assert set(scalars[first]) == {"epoch_accuracy", "epoch_loss", *(f"sparsity/{name}" for name in LAYERS)}
        histograms = ask("plugin/histograms/tags")
        assert set(histograms[first]) == {f"activations/{name}" for name in LAYERS}
        assert not histograms.get("training-11111111/validation")
        points = ask("plugin/scalars/scalars", run=first, tag="epoch_loss")
        assert [step for _, step, _ in points] == [1, 2, 3, 4]
        assert [value for *_, value in points] == pytest.approx(history["val_loss"])
        shown = ask("plugin/histograms/histograms", run=first, tag="activations/logits")
        assert [(step, sum(count for *_, count in buckets)) for _, step, buckets in shown] == [
            (epoch, 30 * len(CLASSES)) for epoch in (1, 2, 3, 4)
        ]
    finally:
        process.terminate()
        process.wait(timeout=30)
