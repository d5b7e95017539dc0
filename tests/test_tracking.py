"""Runs in MLflow: found by the model, written once, made anew where a store does not know them."""

import contextlib
import json
import shutil

import mlflow
import pytest

from stages.common import tracking
from stages.common.errors import StageError
from tests.conftest import run
from tests.test_pipeline import set_param


@pytest.fixture
def copy(project, tmp_path, monkeypatch):
    """The small project's outputs without its store, as somebody has them who pulled them."""
    folder = tmp_path / "pulled"
    shutil.copytree(
        project, folder, ignore=shutil.ignore_patterns("mlflow.db", "mlartifacts", ".cache", "cache", "data")
    )
    (folder / "data").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield folder
    mlflow.set_tracking_uri(None)


def runs(folder):
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    return client.search_runs([client.get_experiment_by_name("darkroom").experiment_id])


def by_hand(folder):
    return run("python", "-m", "stages.track", cwd=folder)


def test_outputs_without_a_run_are_written_once(copy):
    assert "holds this model's run" in by_hand(copy).stdout
    (first,) = runs(copy)
    by_hand(copy)
    (again,) = runs(copy)
    assert again.info.run_id == first.info.run_id
    assert again.data.metrics == first.data.metrics
    assert again.info.end_time == first.info.end_time
    assert again.data.tags["replayed"] == "true"
    figures = json.loads((copy / "reports/metrics.json").read_text())
    assert first.data.metrics["test_accuracy"] == figures["accuracy"]
    client = mlflow.MlflowClient(f"sqlite:///{copy / 'mlflow.db'}")
    curve = client.get_metric_history(first.info.run_id, "val_loss")
    history = (copy / "reports/history.csv").read_text().splitlines()[1:]
    assert len(curve) == len(history)


def test_another_evaluation_is_a_child_and_overwrites_nothing(copy):
    by_hand(copy)
    (before,) = runs(copy)
    figures = json.loads((copy / "reports/metrics.json").read_text())
    (copy / "reports/metrics.json").write_text(json.dumps({**figures, "accuracy": 0.123}))
    for _ in range(2):
        tracking.log_evaluation()
    parent, child = sorted(runs(copy), key=lambda item: "mlflow.parentRunId" in item.data.tags)
    assert parent.data.metrics == before.data.metrics
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.metrics["test_accuracy"] == 0.123


def test_the_logged_model_has_a_signature_and_predicts(copy):
    import numpy as np

    by_hand(copy)
    experiment = runs(copy)[0].info.experiment_id
    mlflow.set_tracking_uri(f"sqlite:///{copy / 'mlflow.db'}")
    (logged,) = mlflow.search_logged_models([experiment], output_format="list")
    model = mlflow.pyfunc.load_model(logged.model_uri)
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, -1, -1, 3)
    probabilities = model.predict(np.zeros((2, 50, 40, 3), np.uint8))
    assert probabilities.shape == (2, 10)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_a_model_is_registered_as_a_candidate(copy):
    tracking.log_training()
    tracking.log_export("fashion")
    version = mlflow.MlflowClient().get_model_version_by_alias("fashion", "candidate")
    assert (str(version.version), version.run_id) == ("1", runs(copy)[0].info.run_id)


def test_a_training_that_goes_on_with_other_settings_elsewhere_gets_a_run_of_its_own(copy):
    """MLflow would refuse other params in the first one; that one is ended."""
    known = copy / "known"
    ids = []
    for mistakes in (24, 24, 5):
        set_param(copy, "evaluate.mistakes", mistakes)
        with contextlib.suppress(KeyboardInterrupt), tracking.training_run(known) as log:
            log(1, {"val_loss": 0.5})
            ids.append(known.read_text().strip())
            raise KeyboardInterrupt
    assert ids[0] == ids[1] != ids[2]
    client = mlflow.MlflowClient()
    assert client.get_run(ids[0]).info.status == "KILLED"
    assert len(client.get_metric_history(ids[0], "val_loss")) == 1
    assert client.get_run(ids[2]).data.params["evaluate.mistakes"] == "5"


def test_a_store_that_is_away_is_named_before_training(copy, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(StageError, match=r"the MLflow store http://127\.0\.0\.1:9 cannot be used"):
        tracking.connect()


def test_a_store_that_goes_away_costs_no_work(copy, capsys):
    def fails():
        raise ConnectionError("connection refused")

    assert tracking.excused(fails) is False
    assert "MLflow: not written (connection refused); later: python -m stages.track" in capsys.readouterr().out


def test_nothing_to_track_is_said(copy):
    shutil.rmtree(copy / "models")
    done = run("python", "-m", "stages.track", cwd=copy, check=False)
    assert (done.returncode, done.stderr.strip()[:37]) == (1, "track: models holds no model: run `dv")


def test_the_summary_says_where_everything_is(copy):
    said = run("python", "-m", "stages.summary", cwd=copy).stdout
    figures = json.loads((copy / "reports/metrics.json").read_text())
    assert f"Test accuracy   {figures['accuracy']:.4f}" in said
    assert ".venv/bin/mlflow ui --backend-store-uri sqlite:///" in said
