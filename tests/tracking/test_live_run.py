"""The run of a training while it runs."""

import contextlib

import mlflow
import pytest

from darkroom.core.files import write_csv
from darkroom.core.paths import HISTORY, TRAIN_REPORT
from darkroom.tracking import pipeline_log
from darkroom.tracking.live_run import training_run
from tests.helpers.processes import queued, together
from tests.helpers.project import run, set_param
from tests.helpers.tracking import change_json, check_epochs, curve, log_many_epochs, runs


def test_a_training_resumed_with_other_settings_gets_its_own_run(pulled):
    """MLflow would refuse other params in the first run; that one is ended."""
    id_file = pulled / "run_id"
    ids = []
    for mistakes in (24, 24, 5):
        set_param(pulled, "evaluate.mistakes", mistakes)
        with contextlib.suppress(KeyboardInterrupt), training_run(id_file) as log:
            log(1, {"val_loss": 0.5})
            ids.append(id_file.read_text().strip())
            raise KeyboardInterrupt
    assert ids[0] == ids[1] != ids[2]
    first, last = (mlflow.get_run(run_id) for run_id in ids[1:])
    assert first.info.status == "KILLED"
    assert curve(pulled, first) == [(1, 0.5)]
    assert last.data.params["evaluate.mistakes"] == "5"


def test_a_store_that_goes_away_during_training_gets_everything_later(pulled, monkeypatch, capsys):
    def gone(*_, **__):
        raise ConnectionError("connection refused")

    with monkeypatch.context() as patch, training_run(pulled / "run_id") as log:
        log(1, {"loss": 0.5, "val_loss": 0.5})
        for name in ("log_metrics", "log_metric", "log_artifact"):
            patch.setattr(mlflow, name, gone)
        log(2, {"loss": 0.25, "val_loss": 0.25})
        log(3, {"loss": 0.2, "val_loss": 0.2})
        rows = [(epoch, loss, loss, 0.5, 0.5) for epoch, loss in ((1, 0.5), (2, 0.25), (3, 0.2))]
        write_csv(HISTORY, ("epoch", "loss", "val_loss", "accuracy", "val_accuracy"), rows)
        change_json(TRAIN_REPORT, epochs=3)
    assert capsys.readouterr().out.count("ended (connection refused); then run") == 2  # in training, and at its end
    (run,) = runs(pulled)
    assert curve(pulled, run) == [(1, 0.5)]
    pipeline_log.log_training()
    (run,) = runs(pulled)
    assert curve(pulled, run) == [(1, 0.5), (2, 0.25), (3, 0.2)]
    assert "model_sha256" in run.data.tags


TRAINING = """
import os, signal, sys
from pathlib import Path
from darkroom.tracking.live_run import LiveRun

live = LiveRun()
with live.open(Path("run_id")) as log:
    log(int(sys.argv[1]), {"val_loss": 0.5})
    exec(sys.argv[2])
assert "mlflow" not in sys.modules
"""
KILL = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.full
def test_another_process_keeps_the_run(pulled):
    """Whether the training is killed, fails or succeeds; it is continued in the same run."""
    ends = ((KILL, -9, "FAILED"), ("1 / 0", 1, "FAILED"), ("", 0, "FINISHED"))
    for epoch, (end, code, status) in enumerate(ends, 1):
        done = run("python", "-c", TRAINING, str(epoch), end, cwd=pulled, check=False)
        assert done.returncode == code, done.stderr
        (recorded,) = runs(pulled)
        assert recorded.info.status == status
        assert curve(pulled, recorded)[:epoch] == [(number, 0.5) for number in range(1, epoch + 1)]


def test_a_training_outlives_the_process_that_keeps_its_run(pulled):
    kill = "live.process.kill(); live.process.join(); log(2, {})"
    done = run("python", "-c", TRAINING, "1", kill, cwd=pulled)
    assert "MLflow: not written" in done.stdout
    pipeline_log.log_training()
    (recorded,) = runs(pulled)
    assert recorded.info.status == "FINISHED"
    assert "model_sha256" in recorded.data.tags


def test_no_training_begins_without_the_process_that_keeps_its_run(pulled):
    script = TRAINING.replace("with live", "live.process.kill()\nwith live", 1)
    done = run("python", "-c", script, "1", "print('trained')", cwd=pulled, check=False)
    assert done.returncode == 1
    assert "the process that writes to MLflow ended before training began" in done.stderr
    assert "trained" not in done.stdout


def test_without_a_store_no_training_begins(pulled):
    away = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}
    done = run("python", "-c", TRAINING, "1", "print('trained')", cwd=pulled, check=False, **away)
    assert done.returncode == 1
    assert "does not answer: start it, or set or unset MLFLOW_TRACKING_URI" in done.stderr
    assert "trained" not in done.stdout


@pytest.mark.full
def test_many_start_at_once_on_an_empty_sqlite_store(pulled):
    """As DVC's queue runs them: in temporary workspaces below .dvc/tmp/exps, which share the store."""
    (pulled / "mlflow.db").unlink()
    calls = []
    for seed, folder in enumerate(queued(pulled, 4)):
        set_param(folder, "base.seed", seed)
        calls.append((folder, (seed,)))
    assert "not written" not in "".join(together(log_many_epochs, calls))
    check_epochs([(run.data.params["base.seed"], run.info.status, curve(pulled, run)) for run in runs(pulled)], 4)
