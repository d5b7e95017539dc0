"""What a training from scratch leaves in its state folder, and what is done with it."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from darkroom.images.folders import listed
from darkroom.models.inputs import Pictures
from darkroom.train import checkpoints
from darkroom.train.calibration import log_loss
from tests.helpers.pictures import CLASSES
from tests.helpers.training import from_scratch, session, weights_bytes

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.fixture(autouse=True)
def inside(split, monkeypatch):
    monkeypatch.chdir(split)


def test_a_finished_training_gives_any_epoch_without_training_again():
    work = session()
    models = {}
    for keep in ("best", "last", 1, 2):
        before = {path: path.stat().st_mtime_ns for path in work.state.rglob("*.npz")}
        result = from_scratch(work, keep=keep, checkpoints="all", learning_rate=1e-3, epochs=4)
        models[keep] = result.model
        if keep != "best":
            assert {path: path.stat().st_mtime_ns for path in work.state.rglob("*.npz")} == before
    losses = result.history["val_loss"]
    val = Pictures(listed("val"), (28, 28)).hold()
    labels = val.numbers(CLASSES)
    expected = {"best": int(np.argmin(losses)), "last": 3, 1: 0, 2: 1}
    for keep, model in models.items():
        assert log_loss(model.logits(val), labels) == pytest.approx(losses[expected[keep]], rel=1e-4)
    assert len({weights_bytes(model) for model in models.values()}) == len(set(expected.values()))


def test_a_state_that_cannot_be_read_is_no_state(capsys):
    """On disk is only what may be needed: the last state, and the weights of the best epoch. Either may be damaged."""
    work = session()
    model, history, _ = from_scratch(work, network="dense", epochs=2)
    best = int(np.argmin(history["val_loss"])) + 1
    assert sorted(path.name for path in work.state.iterdir()) == [f"epoch-{best:04d}.npz", "state.npz"]
    with np.load(work.state / "state.npz") as file:
        assert json.loads(str(file["history"])) == history
        assert not any(name.startswith("optimizer") for name in file.files)  # training is over
    for damaged in ("state.npz", "epoch-*.npz"):
        (path,) = work.state.glob(damaged)
        path.write_bytes(path.read_bytes()[:5000])
        (work.state / ".state.npz.1.partial").touch()  # of a process that was killed
        again = from_scratch(work, network="dense", epochs=2).model
        assert "cannot be read: training starts from the beginning" in capsys.readouterr().out
        assert weights_bytes(model) == weights_bytes(again)
        assert not list(work.state.glob("*.partial"))


def test_the_key_of_a_state_has_everything_that_changes_it(tmp_path, monkeypatch):
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "1.png").write_bytes(b"picture")
    paths = [tmp_path / "train", tmp_path / "val"]
    key = checkpoints.folder({"epochs": 3}, paths)
    assert checkpoints.folder({"epochs": 3}, paths) == key
    assert checkpoints.folder({"epochs": 4}, paths) != key
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "code_digest", lambda *rooms: f"other code of {rooms}")
        assert checkpoints.folder({"epochs": 3}, paths) != key
    (tmp_path / "train/1.png").write_bytes(b"another picture")
    assert checkpoints.folder({"epochs": 3}, paths) != key


def test_a_checkpoint_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    """Else a machine that stops could leave a state whose weights are lost."""
    events = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append("synced"))
    monkeypatch.setattr(Path, "replace", lambda partial, target: events.append("renamed"))
    checkpoints._write(tmp_path / "epoch-0001.npz", {"model-0": np.zeros(3)})
    assert events == ["synced", "renamed"]
