"""What the stages add to the model's run."""

import json

import mlflow
import pytest

from darkroom.commands import track
from darkroom.core.metric_table import METRICS as METRICS_TABLE
from darkroom.core.model_spec import model_sha256
from darkroom.core.paths import EXPORT_REPORT, METRICS, MODELS
from darkroom.tracking import pipeline_log, registry
from tests.helpers.project import set_param
from tests.helpers.tracking import change_json, change_model, client, runs


def test_metrics_of_the_evaluation_are_told_apart_by_part(pulled):
    pipeline_log.log_evaluation()
    (run,) = runs(pulled)
    figures = json.loads(METRICS.read_text())
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
        assert run.data.metrics[name] == figures[figure], name
    assert not run.data.metrics.keys() & {"model_sha256", "test_model_sha256", "test_temperature"}
    artifacts = client(pulled).list_artifacts(run.info.run_id, "evaluation")
    files = {file.path.removeprefix("evaluation/") for file in artifacts}
    assert files >= {"metrics.json", "predictions.csv", "roc.csv", "label_issues.csv", "report.html", "plots"}


def test_sizes_and_times_of_the_export_are_logged(pulled):
    pipeline_log.log_export(None, 2.5, {"onnx": 3.25})
    (run,) = runs(pulled)
    assert run.data.metrics["export_bytes_onnx"] == json.loads(EXPORT_REPORT.read_text())["onnx"]["bytes"]
    assert (run.data.metrics["export_ms_onnx"], run.data.metrics["export_seconds"]) == (3.25, 2.5)


def test_files_of_another_model_are_left_out(pulled, capsys):
    set_param(pulled, "export.register", "fashion")
    change_model(pulled, 9.5)
    left_out = "track: left out: the {} belongs to another model: run `dvc repro`."
    evaluation, export = left_out.format("evaluation in reports/"), left_out.format("export in exports/")
    track.main()
    assert capsys.readouterr().out.splitlines()[:-1] == [evaluation, export]
    (run,) = runs(pulled)
    assert run.data.tags["model_sha256"] == model_sha256(MODELS)
    assert not run.data.metrics.keys() & {"test_accuracy", "export_bytes_onnx"}
    change_json(METRICS, model_sha256=model_sha256(MODELS))
    track.main()
    assert capsys.readouterr().out.splitlines()[:-1] == [export]
    (run,) = runs(pulled)
    assert run.data.metrics["test_accuracy"] == json.loads(METRICS.read_text())["accuracy"]
    assert not client(pulled).search_registered_models()
    assert not client(pulled).search_logged_models([run.info.experiment_id])


def test_no_version_is_described_by_the_evaluation_of_another_model(pulled):
    change_json(METRICS, model_sha256="another")
    with pytest.raises(pipeline_log.OtherModelError, match="would describe it as fashion, belongs to another model"):
        pipeline_log.log_export("fashion")
    assert runs(pulled)[0].data.metrics["export_bytes_onnx"] > 0
    assert not mlflow.MlflowClient().search_registered_models()


def test_an_evaluation_of_another_model_is_refused(workspace):
    for folder in ("models", "reports"):
        (workspace / folder).mkdir()
    (workspace / "models/model.json").write_text("{}\n")
    (workspace / "reports/metrics.json").write_text('{"model_sha256": "another"}\n')
    with pytest.raises(pipeline_log.OtherModelError, match="belongs to another model"):
        pipeline_log.log_evaluation()


@pytest.mark.parametrize("right", [True, False], ids=["no mistakes", "always one class"])
def test_models_without_intervals_are_recorded_like_any_other(pulled, right):
    """Figures that are the same in every resample have none (see core.metric_table)."""
    figures = json.loads(METRICS.read_text())
    bootstrap = [metric.key for metric in METRICS_TABLE if metric.interval == "bootstrap"]
    figures |= dict.fromkeys(bootstrap, 1.0 if right else 0.0) | {"accuracy": 1.0 if right else 0.1}
    for key in bootstrap:
        figures.pop(f"{key}_low", None)
        figures.pop(f"{key}_high", None)
    for key in ("roc_auc", "average_precision", "top_5_accuracy"):  # not defined for one class, or for few
        figures.pop(key, None)
    METRICS.write_text(json.dumps(figures))
    pipeline_log.log_evaluation()
    pipeline_log.log_export("fashion")
    (run,) = runs(pulled)
    assert run.data.metrics["test_accuracy"] == figures["accuracy"]
    assert registry.has_evaluation(run)
    version = registry.version_by_alias("fashion", registry.CANDIDATE)
    assert version.description.startswith(f"Test accuracy {figures['accuracy']:.4f}, ")
