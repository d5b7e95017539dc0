"""Runs in MLflow: found by the model, written once, made anew where a store does not know them."""

import contextlib
import json
import shutil
from pathlib import Path

import mlflow
import pytest

from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.core.paths import HISTORY, METRICS, MODEL_SUMMARY, PREDICTIONS, ROC, SPLIT_REPORT
from darkroom.inference import formats
from darkroom.tracking import pipeline_log
from darkroom.tracking.runs import PARENT
from darkroom.tracking.store import connect
from tests.helpers.project import run, set_param


def runs(folder):
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    return client.search_runs([client.get_experiment_by_name("darkroom").experiment_id])


def by_hand(folder):
    return run("python", "-m", "stages.track", cwd=folder)


def evaluated_again(accuracy):
    """Another evaluation of the same model: one that finds another accuracy, and one picture fewer."""
    METRICS.write_text(json.dumps(json.loads(METRICS.read_text()) | {"accuracy": accuracy}))
    PREDICTIONS.write_text("".join(PREDICTIONS.read_text().splitlines(keepends=True)[:-1]))


def test_outputs_without_a_run_are_written_once(pulled):
    assert "holds this model's run" in by_hand(pulled).stdout
    (first,) = runs(pulled)
    by_hand(pulled)
    (again,) = runs(pulled)
    assert again.info.run_id == first.info.run_id
    assert again.data.metrics == first.data.metrics
    assert again.info.end_time == first.info.end_time
    assert again.data.tags["replayed"] == "true"
    figures = json.loads((pulled / "reports/metrics.json").read_text())
    assert first.data.metrics["test_accuracy"] == figures["accuracy"]
    client = mlflow.MlflowClient(f"sqlite:///{pulled / 'mlflow.db'}")
    curve = client.get_metric_history(first.info.run_id, "val_loss")
    history = (pulled / "reports/history.csv").read_text().splitlines()[1:]
    assert len(curve) == len(history)


def test_another_evaluation_is_a_child_and_overwrites_nothing(pulled):
    by_hand(pulled)
    (before,) = runs(pulled)
    figures = json.loads((pulled / "reports/metrics.json").read_text())
    (pulled / "reports/metrics.json").write_text(json.dumps({**figures, "accuracy": 0.123}))
    for _ in range(2):
        pipeline_log.log_evaluation()
    parent, child = sorted(runs(pulled), key=lambda item: "mlflow.parentRunId" in item.data.tags)
    assert parent.data.metrics == before.data.metrics
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.metrics["test_accuracy"] == 0.123


def test_the_figures_of_the_evaluation_keep_their_parts_apart(pulled):
    by_hand(pulled)
    (held,) = runs(pulled)
    figures = json.loads((pulled / "reports/metrics.json").read_text())
    for name, figure in (
        ("test_accuracy_low", "accuracy_low"),
        ("test_n", "n_test"),
        ("test_log_loss", "log_loss"),
        ("final_train_accuracy", "accuracy_train"),
        ("final_val_log_loss", "log_loss_val"),
        ("final_val_n", "n_val"),
        ("temperature", "temperature"),
        ("label_issues", "label_issues"),
    ):
        assert held.data.metrics[name] == figures[figure], name
    assert not held.data.metrics.keys() & {"model_sha256", "test_model_sha256", "test_temperature"}
    client = mlflow.MlflowClient(f"sqlite:///{pulled / 'mlflow.db'}")
    files = {file.path.removeprefix("evaluation/") for file in client.list_artifacts(held.info.run_id, "evaluation")}
    assert files >= {"metrics.json", "predictions.csv", "roc.csv", "label_issues.csv", "report.html", "plots"}


def test_failed_attempts_at_another_evaluation_share_one_run(pulled):
    by_hand(pulled)
    evaluated_again(0.123)
    ROC.rename("away")
    for _ in range(2):
        with pytest.raises(OSError, match=r"roc\.csv"):
            pipeline_log.log_evaluation()
    Path("away").rename(ROC)
    pipeline_log.log_evaluation()
    parent, child = sorted(runs(pulled), key=lambda item: PARENT in item.data.tags)
    assert child.data.tags[PARENT] == parent.info.run_id
    assert child.info.status == "FINISHED"
    assert child.data.metrics["test_accuracy"] == 0.123


def test_failed_attempts_to_write_a_training_share_one_run(pulled):
    for missing in (SPLIT_REPORT, MODEL_SUMMARY, MODEL_SUMMARY):  # read before, and after the curves are written
        missing.rename("away")
        with pytest.raises(OSError, match=missing.name):
            pipeline_log.log_training()
        Path("away").rename(missing)
    assert [item.info.status for item in runs(pulled)] == ["FAILED"]
    pipeline_log.log_training()
    (only,) = runs(pulled)
    assert only.info.status == "FINISHED"
    assert len(only.inputs.dataset_inputs) == 3
    curve = mlflow.MlflowClient().get_metric_history(only.info.run_id, "val_loss")
    assert [point.step for point in curve] == [int(row["epoch"]) for row in read_csv(HISTORY)]


def test_a_failed_attempt_with_other_params_is_left(pulled):
    """MLflow would refuse to change them for good."""
    MODEL_SUMMARY.rename("away")
    with pytest.raises(OSError, match=MODEL_SUMMARY.name):
        pipeline_log.log_training()
    Path("away").rename(MODEL_SUMMARY)
    set_param(pulled, "evaluate.mistakes", 5)
    pipeline_log.log_training()
    assert sorted(item.info.status for item in runs(pulled)) == ["FAILED", "FINISHED"]


def test_a_training_that_goes_on_with_other_settings_elsewhere_gets_a_run_of_its_own(pulled):
    """MLflow would refuse other params in the first one; that one is ended."""
    known = pulled / "known"
    ids = []
    for mistakes in (24, 24, 5):
        set_param(pulled, "evaluate.mistakes", mistakes)
        with contextlib.suppress(KeyboardInterrupt), pipeline_log.training_run(known) as log:
            log(1, {"val_loss": 0.5})
            ids.append(known.read_text().strip())
            raise KeyboardInterrupt
    assert ids[0] == ids[1] != ids[2]
    client = mlflow.MlflowClient()
    assert client.get_run(ids[0]).info.status == "KILLED"
    assert len(client.get_metric_history(ids[0], "val_loss")) == 1
    assert client.get_run(ids[2]).data.params["evaluate.mistakes"] == "5"


def test_a_store_that_is_away_is_named_before_training(pulled, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"the MLflow store http://127\.0\.0\.1:9 does not answer"):
        connect()


def test_a_store_that_goes_away_costs_no_work(pulled, capsys):
    def fails():
        raise ConnectionError("connection refused")

    assert pipeline_log.excused(fails) is False
    assert "MLflow: not written (connection refused); later: python -m darkroom track" in capsys.readouterr().out


def test_nothing_to_track_is_said(pulled):
    shutil.rmtree(pulled / "models")
    done = run("python", "-m", "stages.track", cwd=pulled, check=False)
    assert (done.returncode, done.stderr.strip()[:37]) == (1, "track: models holds no model: run `dv")


def test_the_summary_says_where_everything_is(pulled):
    (pulled / "exports/model.keras").touch()
    said = run("python", "-m", "stages.summary", cwd=pulled).stdout
    figures = json.loads((pulled / "reports/metrics.json").read_text())
    assert f"Test accuracy   {figures['accuracy']:.4f}" in said
    there = [name for name in formats.FILES.values() if (pulled / "exports" / name).exists()]
    assert "model.keras" in there
    assert "model.tflite" not in there
    assert f"Exported model  exports: {', '.join(there)}" in said
    assert "Predict         .venv/bin/python -m darkroom predict PATH" in said
    assert ".venv/bin/mlflow ui --backend-store-uri sqlite:///" in said
