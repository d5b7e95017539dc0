"""Versions in MLflow's registry: each model once, described by its own evaluation."""

import json

import mlflow
import pytest

from darkroom.commands.compare.predictions import read
from darkroom.core.errors import UserError
from darkroom.core.paths import EXPORT_REPORT, METRICS, TRAIN_REPORT
from darkroom.pipeline import params
from darkroom.tracking import pipeline_log, registry
from darkroom.tracking.store import connect
from tests.helpers.project import set_param
from tests.helpers.tracking import change_evaluation, change_json, parent_and_child, runs


def change_export():
    """Turn the export here into another one."""
    change_json(EXPORT_REPORT, another={"bytes": 1})


def test_a_model_is_registered_once_under_each_name_as_a_candidate(pulled):
    for name in (None, "fashion", "fashion", "clothes", None):
        pipeline_log.log_export(name)
    client, figures = mlflow.MlflowClient(), json.loads(METRICS.read_text())
    (run,) = runs(pulled)
    (logged,) = client.search_logged_models([run.info.experiment_id])
    assert logged.source_run_id == run.info.run_id
    for name in ("fashion", "clothes"):
        (version,) = client.search_model_versions(f"name = '{name}'")
        assert (str(version.version), version.run_id) == ("1", run.info.run_id)
        assert client.get_model_version_by_alias(name, "candidate").version == version.version
        assert mlflow.models.get_model_info(f"models:/{name}@candidate").model_uri == logged.model_uri
        assert version.description.startswith(f"Test accuracy {figures['accuracy']:.4f}, 95 % interval ")
        assert float(version.tags["accuracy"]) == pytest.approx(figures["accuracy"], abs=1e-6)
        assert version.tags["model_sha256"] == json.loads(TRAIN_REPORT.read_text())["model_sha256"]


def test_another_export_is_another_candidate_and_finds_its_evaluation(pulled):
    pipeline_log.log_evaluation()
    pipeline_log.log_export("fashion")
    change_export()
    for _ in range(2):
        pipeline_log.log_export("fashion")
    parent, child = parent_and_child(pulled)
    client = mlflow.MlflowClient()
    versions = [client.get_model_version("fashion", number).run_id for number in (1, 2)]
    assert versions == [parent.info.run_id, child.info.run_id]
    assert str(client.get_model_version_by_alias("fashion", "candidate").version) == "2"
    assert registry.evaluation_run_of(child).info.run_id == parent.info.run_id
    assert read("models:/fashion/2") == read("models:/fashion/1") == read("workspace")


def test_an_export_after_another_evaluation_shows_that_one(pulled):
    pipeline_log.log_evaluation()
    pipeline_log.log_export("fashion")
    first, figures = read("workspace"), json.loads(METRICS.read_text())
    change_evaluation(0.123)
    pipeline_log.log_evaluation()
    change_export()
    pipeline_log.log_export("fashion")
    client = mlflow.MlflowClient()
    for number, accuracy, rows in ((1, figures["accuracy"], first), (2, 0.123, read("workspace"))):
        version = client.get_model_version("fashion", number)
        evaluation = registry.evaluation_run_of(client.get_run(version.run_id))
        assert evaluation.data.metrics["test_accuracy"] == accuracy
        assert version.description.startswith(f"Test accuracy {accuracy:.4f}")
        assert registry.training_run_of(evaluation).data.tags["kind"] == "training"
        assert read(f"models:/fashion/{number}") == read(evaluation.info.run_id) == rows
        assert len(evaluation.inputs.dataset_inputs) == 3
    assert read(client.get_model_version("fashion", "2").run_id) != first


def test_a_first_export_after_another_evaluation_shows_that_one(pulled):
    """The model and the older evaluation are in one run then; a run's id means the evaluation in that run."""
    pipeline_log.log_evaluation()
    first = read("workspace")
    change_evaluation(0.123)
    pipeline_log.log_evaluation()
    pipeline_log.log_export("fashion")
    run_id = mlflow.MlflowClient().get_model_version("fashion", "1").run_id
    assert read("models:/fashion/1") == read("workspace") != first
    assert read(run_id) == first


def test_a_registration_that_was_cut_off_is_finished(pulled, monkeypatch):
    def gone(*_):
        raise ConnectionError("connection refused")

    connect()
    client = mlflow.MlflowClient()
    for last in ("set_registered_model_alias", "update_model_version"):
        with monkeypatch.context() as patch:
            patch.setattr(mlflow.MlflowClient, last, gone)
            with pytest.raises(ConnectionError):
                pipeline_log.log_export(last)
        pipeline_log.log_export(last)
        (version,) = client.search_model_versions(f"name = '{last}'")
        assert version.description.startswith("Test accuracy ")
        assert client.get_model_version_by_alias(last, "candidate").version == version.version
        # A finished registration is left alone: the alias may belong to another version by now.
        client.delete_registered_model_alias(last, "candidate")
        pipeline_log.log_export(last)
        assert not client.get_registered_model(last).aliases


def test_a_name_that_would_break_queries_and_addresses_is_refused(workspace):
    set_param(workspace, "export.register", "Animals and_flowers-2.1")
    params.current()
    for name in ("the dog's", 'a "b"', "animals/flowers", "a:b", "a\n", ""):
        set_param(workspace, "export.register", name)
        rule = "a name may have letters, digits, spaces" if name else "should have at least 1 character"
        with pytest.raises(UserError, match=rf"export\.register is .*, but {rule}"):
            params.current()
