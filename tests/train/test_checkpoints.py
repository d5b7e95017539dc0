"""What a training from scratch leaves in its state folder, and what is done with it."""

import json
import os
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from darkroom.core import sealed
from darkroom.core.partial_files import machine
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


def test_only_what_may_be_needed_is_kept():
    """The last two states, and the weights of the best epoch of each."""
    work = session()
    _, history, _ = from_scratch(work, network="dense", epochs=4)
    losses = history["val_loss"]
    best = {int(np.argmin(losses[:end])) + 1 for end in (3, 4)}
    expected = {"state-0003", "state-0004", *(f"epoch-{epoch:04d}" for epoch in best)}
    assert {sealed.stem(path) for path in work.state.iterdir()} == expected
    assert all(sealed.is_intact(path) for path in work.state.iterdir())
    (last,) = work.state.glob("state-0004.*")
    with np.load(last) as file:
        assert json.loads(str(file["history"])) == history
        assert not any(name.startswith("optimizer") for name in file.files)  # training is over


DAMAGE = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "one bit": lambda path: flip(path),
    "other valid content": lambda path: np.savez(path, history=np.array('{"loss": [1], "val_loss": [1]}')),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "gone": lambda path: path.unlink(),
}
FILES = {"state-0004": 3, "state-*": 0, "epoch-*": 0, "*": 0}  # and the epoch after which training resumes


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("files", "damage"),
    [
        pytest.param(files, damage, marks=[] if (files, damage) in (("state-0004", "one bit"), ("epoch-*", "a folder"))
                     else [pytest.mark.full, pytest.mark.table])
        for files in FILES for damage in DAMAGE
    ],
)  # fmt: skip
def test_training_resumes_after_the_last_intact_epoch(files, damage, finished_once, tmp_path, capsys):
    state, model = finished_once
    work = session()._replace(state=shutil.copytree(state, tmp_path / "state"))
    for path in list(work.state.glob(f"{files}.*.npz")):
        DAMAGE[damage](path)
    (work.state / f".state-0004.{machine()}.999999999.partial").touch()  # of a process that was killed
    again = from_scratch(work, network="dense", epochs=4).model
    text = capsys.readouterr().out
    assert weights_bytes(again) == weights_bytes(model)
    assert ("resuming after epoch 3 of 4" in text) == (FILES[files] == 3)
    if damage != "gone":
        then = "resumes after epoch 3" if FILES[files] else "starts from the beginning"
        assert f"is damaged: training {then}" in text
    assert {path.name for path in work.state.iterdir()} == {path.name for path in state.iterdir()}


@pytest.fixture(scope="module")
def finished_once(split, tensorflow):
    """The state of a finished training, and its model; the same epoch is the best of both last states."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(split)
        work = session()
        return work.state, from_scratch(work, network="dense", epochs=4).model


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
    sealed.write(tmp_path, "epoch-0001", {"model-0": np.zeros(3)})
    assert events == ["synced", "renamed"]


def test_a_key_of_many_files_takes_little_memory(tmp_path):
    for number in range(3000):
        (tmp_path / f"{number}.png").write_text(str(number))
    checkpoints.folder({}, [])  # imports
    tracemalloc.start()
    checkpoints.folder({}, [tmp_path])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 700
