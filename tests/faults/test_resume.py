"""A training that is killed at any moment gives the same bytes in the end: real processes, real SIGKILLs."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import yaml

from tests.helpers import trainings
from tests.helpers.project import copy_project, repro, run, set_param, set_params, trim
from tests.helpers.stores import new_store

MODES = {  # epochs in all, and what makes the mode; stopping, rate and best epoch have to be remembered
    "head": (10, {"train.schedule": "plateau", "train.plateau_patience": 1, "train.learning_rate": 0.01}),
    "fine_tune": (
        10,
        {
            "train.mode": "fine_tune",
            "train.epochs": 5,
            "train.schedule": "cosine",
            "train.fine_tune.unfreeze": "block4",
            "train.fine_tune.epochs": 5,
            "train.fine_tune.learning_rate": 1e-4,
        },
    ),
    "scratch": (
        10,
        {
            "train.mode": "scratch",
            "train.network": "fashion_cnn",
            "train.scratch.image_size": [28, 28],
            "train.scratch.online": {"preset": "trivial_augment"},
            "train.scratch.mixup": 0.2,
            "train.warmup_epochs": 2,
            "train.ema": 0.9,
            "train.patience": 4,
            "train.tensorboard": "scalars",
        },
    ),
}


@pytest.fixture
def copy(project, tmp_path):
    """A clone of the small project that has run, without what a training leaves."""
    folder = tmp_path / "copy"
    copy_project(project, folder)
    forget(folder)
    set_param(folder, "train.epochs", 10)
    return folder


def forget(folder: Path) -> None:
    """No model, no reports of it, no state, no runs."""
    for name in ("models", ".cache/training", "mlflow.db", "logs"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    new_store(folder / "mlflow.db")


def outputs(folder):
    files = [*(folder / "models").iterdir(), *(folder / f"reports/{name}" for name in ("history.csv", "train.json"))]
    return {path.name: path.read_bytes() for path in [*files, folder / "reports/model.txt"]}


def trained(folder, epochs=0, delay=0.0):
    """Train in a process, and kill it as `trainings.finish` says: output, whether it was killed, when epochs began."""
    log = folder / "training.log"
    log.unlink(missing_ok=True)
    return trainings.finish(trainings.start(folder, log), log, epochs, delay)


def test_a_killed_head_resumes(copy):
    resumes(copy, "head", kills=1)


@pytest.mark.full
@pytest.mark.parametrize("mode", [pytest.param("fine_tune", marks=pytest.mark.table), "scratch"])
def test_another_killed_training_resumes(copy, mode):
    resumes(copy, mode, kills=3)


def resumes(folder, mode, kills):
    """Train without interruption; then again, killed again and again within one to three epochs: the same bytes."""
    epochs, changes = MODES[mode]
    set_params(folder, changes)
    if mode == "fine_tune":  # an epoch of all pictures takes several seconds
        trim(folder, pictures=16)
        run("python", "-m", "stages.extract", cwd=folder)
    output, _, starts = trained(folder)
    assert "\ntrain: epoch" in output, output
    an_epoch = (starts[-1] - starts[0]) / (len(starts) - 1)
    expected = outputs(folder)
    curve = [line.split(",")[0] for line in (folder / "reports/history.csv").read_text().splitlines()[1:]]
    assert len(curve) <= epochs
    forget(folder)
    moments = random.Random(f"{mode}{time.time_ns()}")
    warm_up = changes.get("train.epochs", 0)
    resumed = 0
    for kill in range(kills + 1):
        first = warm_up + moments.randint(2, 3)  # after a whole epoch of the last phase
        moment = (moments.randint(1, 3) if kill else first, moments.uniform(0, an_epoch))
        print(f"kill {moment[1]:.2f} s after the start of its epoch number {moment[0]}")
        output, was_killed, _ = trained(folder, *(moment if kill < kills else ()))
        resumed += bool(re.search(r"train: resuming after epoch [1-9]", output))
        if not was_killed:
            break
    assert "\ntrain: epoch" in output, output
    assert resumed >= 1
    assert outputs(folder) == expected

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    (only,) = mlflow.search_runs(experiment_names=["darkroom"], output_format="list")
    assert only.info.status == "FINISHED"
    assert only.data.tags["resumed"] == "true"
    assert len(only.inputs.dataset_inputs) == 3
    for metric in ("val_loss", "learning_rate"):
        points = mlflow.MlflowClient().get_metric_history(only.info.run_id, metric)
        assert [str(point.step) for point in sorted(points, key=lambda point: point.step)] == curve
    assert not list((folder / ".cache/training").rglob("run"))
    mlflow.set_tracking_uri(None)


def killed(folder, command, epochs, delay):
    """Start a command, and after so many of its epochs began, and a delay, kill it and its children; its output."""
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    lines = []
    for line in process.stdout:
        lines.append(line)
        epochs -= line.startswith("Epoch ")
        if not epochs:
            time.sleep(delay)
            os.killpg(process.pid, signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL, "".join(lines)


@pytest.mark.full
def test_a_killed_repro_resumes(copy):
    """DVC and all that it started are killed in the middle of a training; `dvc repro` then finishes it."""
    small = {"train.mode": "scratch", "train.network": "fashion_cnn", "train.scratch.image_size": [28, 28]}
    set_params(copy, small | {"train.patience": None})
    assert repro(copy, "train") == ["train"]
    expected = outputs(copy), yaml.safe_load((copy / "dvc.lock").read_text())["stages"]["train"]
    forget(copy)
    run("git", "checkout", "-q", "dvc.lock", cwd=copy)
    shutil.rmtree(copy / ".dvc/cache/runs")
    killed(copy, ["dvc", "repro", "train"], 4, 0.1)
    again = run("dvc", "repro", "train", cwd=copy).stdout
    assert re.search(r"train: resuming after epoch [3-9] of 10", again)
    assert (outputs(copy), yaml.safe_load((copy / "dvc.lock").read_text())["stages"]["train"]) == expected


@pytest.mark.full
def test_two_at_the_same_time_train_once(copy):
    """The second waits for the first, and then has nothing to train."""
    set_params(copy, {"train.mode": "scratch", "train.network": "fashion_cnn", "train.epochs": 4})
    other = copy.parent / "other"
    copy_project(copy, other)
    shutil.rmtree(other / ".cache")
    (other / ".cache").symlink_to(copy / ".cache")
    command = [sys.executable, "-m", "stages.train"]
    both = [
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for folder in (copy, other)
    ]
    texts = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    assert sorted("Epoch 1/4" in text for text in texts) == [False, True]
    assert outputs(copy) == outputs(other)
