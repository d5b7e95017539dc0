"""Runs in MLflow: found by the model, written once, made anew where a store does not know them."""

import contextlib
import json
import shutil
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from stages.common import formats, params, registry, tracking
from stages.common.classifier import digest
from stages.common.errors import StageError
from stages.common.files import read_csv
from stages.common.paths import (
    EXPORT_REPORT,
    HISTORY,
    METRICS,
    MODEL_SUMMARY,
    MODELS,
    PREDICTIONS,
    ROC,
    SPLIT_REPORT,
)
from stages.common.pictures import decode
from stages.common.runs import PARENT
from stages.common.store import connect
from stages.common.tested import read
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


def test_the_figures_of_the_evaluation_keep_their_parts_apart(copy):
    by_hand(copy)
    (held,) = runs(copy)
    figures = json.loads((copy / "reports/metrics.json").read_text())
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
    client = mlflow.MlflowClient(f"sqlite:///{copy / 'mlflow.db'}")
    files = {file.path.removeprefix("evaluation/") for file in client.list_artifacts(held.info.run_id, "evaluation")}
    assert files >= {"metrics.json", "predictions.csv", "roc.csv", "label_issues.csv", "report.html", "plots"}


def test_what_the_export_took_is_logged(copy):
    tracking.log_export(None, 2.5, {"onnx": 3.25})
    (held,) = runs(copy)
    said = json.loads((copy / "reports/export.json").read_text())
    assert held.data.metrics["export_bytes_onnx"] == said["onnx"]["bytes"]
    assert (held.data.metrics["export_ms_onnx"], held.data.metrics["export_seconds"]) == (3.25, 2.5)


# Loads a model of MLflow without this project, and predicts picture files.
ELSEWHERE = """
import json, sys, mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
images = pandas.DataFrame({"image": [open(path, "rb").read() for path in sys.argv[2:]]})
print(json.dumps(model.predict(images).to_dict("records")))
assert "tensorflow" not in sys.modules
"""


def test_the_logged_model_predicts_without_the_project(copy, project, tmp_path):
    by_hand(copy)
    experiment = runs(copy)[0].info.experiment_id
    store = f"sqlite:///{copy / 'mlflow.db'}"
    mlflow.set_tracking_uri(store)
    (logged,) = mlflow.search_logged_models([experiment], output_format="list")
    said = mlflow.models.get_model_info(logged.model_uri).signature.to_dict()
    assert "binary" in said["inputs"]
    assert all(name in said["outputs"] for name in ("label", "probability", "probabilities"))
    (tmp_path / "away").mkdir()
    paths = [project / row["path"] for row in read_csv(copy / "reports/predictions.csv")[::20]]
    command = (sys.executable, "-I", "-c", ELSEWHERE, logged.model_uri, *map(str, paths))
    answers = json.loads(run(*command, cwd=tmp_path / "away", MLFLOW_TRACKING_URI=store).stdout.splitlines()[-1])
    exported = formats.load(formats.locate(copy / "exports"))
    for path, answer in zip(paths, answers, strict=True):
        expected = exported.probabilities(decode(path)[None])[0]
        assert answer["label"] == exported.classes[expected.argmax()]
        assert answer["probability"] == pytest.approx(expected.max(), abs=1e-6)
        assert list(answer["probabilities"]) == exported.classes
        assert list(answer["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-6)


def test_the_logged_model_has_a_small_example_where_the_pictures_are(copy, project):
    shutil.copytree(project / "data/split", copy / "data/split")
    tracking.log_export(None)
    (logged,) = mlflow.search_logged_models([runs(copy)[0].info.experiment_id], output_format="list")
    model = mlflow.pyfunc.load_model(logged.model_uri)
    (data,) = model.input_example["image"]
    first = read_csv(copy / "reports/predictions.csv")[0]["path"]
    assert (decode(data) == decode(project / first)).all()  # Fashion-MNIST's are small already
    assert model.predict(model.input_example)["probability"][0] <= 1


def test_bad_pictures_are_named_by_their_rows(copy, project):
    tracking.log_export(None)
    (logged,) = mlflow.search_logged_models([runs(copy)[0].info.experiment_id], output_format="list")
    model = mlflow.pyfunc.load_model(logged.model_uri)
    good = (project / read_csv(copy / "reports/predictions.csv")[0]["path"]).read_bytes()
    images = pd.DataFrame({"image": [good, b"no picture", good, good[:100]]})
    sentence = r"No good picture in row 1: not a picture of a known format; row 3: cannot be decoded \(.*\)\.$"
    with pytest.raises(mlflow.MlflowException, match=sentence) as error:
        model.predict(images)
    assert error.value.get_http_status_code() == 400


def test_a_model_is_registered_as_a_candidate(copy):
    tracking.log_training()
    tracking.log_export("fashion")
    client = mlflow.MlflowClient()
    version = client.get_model_version_by_alias("fashion", "candidate")
    assert (str(version.version), version.run_id) == ("1", runs(copy)[0].info.run_id)
    figures = json.loads((copy / "reports/metrics.json").read_text())
    assert version.description.startswith(f"Test accuracy {figures['accuracy']:.4f} (95 % interval ")
    assert float(version.tags["accuracy"]) == pytest.approx(figures["accuracy"], abs=1e-6)
    assert version.tags["model_sha256"] == json.loads((copy / "reports/train.json").read_text())["model_sha256"]


def test_a_name_that_comes_later_registers_the_model_that_is_logged_and_once(copy):
    for name in (None, "fashion", "fashion", "clothes", None):
        tracking.log_export(name)
    client = mlflow.MlflowClient()
    (logged,) = mlflow.search_logged_models([runs(copy)[0].info.experiment_id], output_format="list")
    for name in ("fashion", "clothes"):
        (version,) = client.search_model_versions(f"name = '{name}'")
        assert mlflow.models.get_model_info(f"models:/{name}@candidate").model_uri == logged.model_uri
        assert version.run_id == logged.source_run_id


def test_another_export_of_the_model_is_another_candidate_and_its_evaluation_is_found(copy):
    tracking.log_training()
    tracking.log_evaluation()
    tracking.log_export("fashion")
    said = json.loads((copy / "reports/export.json").read_text())
    (copy / "reports/export.json").write_text(json.dumps(said | {"another": {"bytes": 1}}))
    for _ in range(2):
        tracking.log_export("fashion")
    parent, child = sorted(runs(copy), key=lambda item: "mlflow.parentRunId" in item.data.tags)
    client = mlflow.MlflowClient()
    assert [client.get_model_version("fashion", number).run_id for number in (1, 2)] == [
        parent.info.run_id,
        child.info.run_id,
    ]
    assert str(client.get_model_version_by_alias("fashion", "candidate").version) == "2"
    assert registry.evaluated_run(child).info.run_id == parent.info.run_id
    assert read("models:/fashion/2") == read("models:/fashion/1") == read("workspace")


def test_an_export_after_another_evaluation_shows_that_one(copy):
    set_param(copy, "export.register", "fashion")
    by_hand(copy)
    first, figures = read("workspace"), json.loads(METRICS.read_text())
    evaluated_again(0.123)
    tracking.log_evaluation()
    report = json.loads(EXPORT_REPORT.read_text())
    EXPORT_REPORT.write_text(json.dumps(report | {"another": {"bytes": 1}}))
    tracking.log_export("fashion")
    client = mlflow.MlflowClient()
    for number, accuracy, said in ((1, figures["accuracy"], first), (2, 0.123, read("workspace"))):
        version = client.get_model_version("fashion", number)
        shown = registry.evaluated_run(client.get_run(version.run_id))
        assert shown.data.metrics["test_accuracy"] == accuracy
        assert version.description.startswith(f"Test accuracy {accuracy:.4f} (")
        assert registry.trained_run(shown).data.tags["kind"] == "training"
        assert read(f"models:/fashion/{number}") == read(shown.info.run_id) == said
        assert len(shown.inputs.dataset_inputs) == 3
    assert read(client.get_model_version("fashion", "2").run_id) != first


def test_a_model_that_is_exported_after_another_evaluation_only_shows_that_one(copy):
    """Both lie in one run then, the model and an older evaluation; a run's id means what lies in it."""
    tracking.log_evaluation()
    first = read("workspace")
    evaluated_again(0.123)
    tracking.log_evaluation()
    tracking.log_export("fashion")
    run_id = mlflow.MlflowClient().get_model_version("fashion", "1").run_id
    assert read("models:/fashion/1") == read("workspace") != first
    assert read(run_id) == first


def evaluated_again(accuracy):
    """Another evaluation of the same model: one that finds another accuracy, and one picture fewer."""
    METRICS.write_text(json.dumps(json.loads(METRICS.read_text()) | {"accuracy": accuracy}))
    PREDICTIONS.write_text("".join(PREDICTIONS.read_text().splitlines(keepends=True)[:-1]))


def another_model():
    """Train anew, as far as anybody can tell who looks at models/ alone."""
    said = json.loads((MODELS / "model.json").read_text())
    (MODELS / "model.json").write_text(json.dumps(said | {"temperature": said["temperature"] + 1}))


def test_what_is_of_another_model_is_left_out(copy):
    set_param(copy, "export.register", "fashion")
    another_model()
    left_out = "track: left out: the {} is of another model: run `dvc repro`."
    evaluation, export = left_out.format("evaluation in reports/"), left_out.format("export in exports/")
    assert by_hand(copy).stdout.splitlines()[:-1] == [evaluation, export]
    (only,) = runs(copy)
    assert only.data.tags["model_sha256"] == digest(MODELS)
    assert not only.data.metrics.keys() & {"test_accuracy", "export_bytes_onnx"}
    METRICS.write_text(json.dumps(json.loads(METRICS.read_text()) | {"model_sha256": digest(MODELS)}))
    assert by_hand(copy).stdout.splitlines()[:-1] == [export]
    (only,) = runs(copy)
    assert only.data.metrics["test_accuracy"] == json.loads(METRICS.read_text())["accuracy"]
    client = mlflow.MlflowClient(f"sqlite:///{copy / 'mlflow.db'}")
    assert not client.search_registered_models()
    assert not client.search_logged_models([only.info.experiment_id])


def test_no_version_is_described_by_the_evaluation_of_another_model(copy):
    METRICS.write_text(json.dumps(json.loads(METRICS.read_text()) | {"model_sha256": "another"}))
    with pytest.raises(tracking.OtherModelError, match="would describe it as fashion, is of another model"):
        tracking.log_export("fashion")
    assert runs(copy)[0].data.metrics["export_bytes_onnx"] > 0
    assert not mlflow.MlflowClient().search_registered_models()


@pytest.mark.parametrize("last", ["set_registered_model_alias", "update_model_version"])
def test_a_registration_that_was_cut_off_is_finished(copy, monkeypatch, last):
    def gone(*_):
        raise ConnectionError("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, last, gone)
        with pytest.raises(ConnectionError):
            tracking.log_export("fashion")
    tracking.log_export("fashion")
    client = mlflow.MlflowClient()
    (version,) = client.search_model_versions("name = 'fashion'")
    assert version.description.startswith("Test accuracy ")
    assert client.get_model_version_by_alias("fashion", "candidate").version == version.version
    # What is finished is left alone: the alias may be another version's by now.
    client.delete_registered_model_alias("fashion", "candidate")
    tracking.log_export("fashion")
    assert not client.get_registered_model("fashion").aliases


@pytest.mark.parametrize("name", ["the dog's", 'a "b"', "animals/flowers", "a:b", "a\n", ""])
def test_a_name_that_would_break_mlflows_queries_and_addresses_is_refused(workspace, name):
    set_param(workspace, "export.register", "Animals and_flowers-2.1")
    params.check(params.load())
    set_param(workspace, "export.register", name)
    with pytest.raises(
        StageError, match=r"export\.register is .*, but (a name may have letters, digits, spaces|string)"
    ):
        params.check(params.load())


def test_failed_attempts_at_another_evaluation_share_one_run(copy):
    by_hand(copy)
    evaluated_again(0.123)
    ROC.rename("away")
    for _ in range(2):
        with pytest.raises(OSError, match=r"roc\.csv"):
            tracking.log_evaluation()
    Path("away").rename(ROC)
    tracking.log_evaluation()
    parent, child = sorted(runs(copy), key=lambda item: PARENT in item.data.tags)
    assert child.data.tags[PARENT] == parent.info.run_id
    assert child.info.status == "FINISHED"
    assert child.data.metrics["test_accuracy"] == 0.123


def test_failed_attempts_to_write_a_training_share_one_run(copy):
    for missing in (SPLIT_REPORT, MODEL_SUMMARY, MODEL_SUMMARY):  # read before, and after the curves are written
        missing.rename("away")
        with pytest.raises(OSError, match=missing.name):
            tracking.log_training()
        Path("away").rename(missing)
    assert [item.info.status for item in runs(copy)] == ["FAILED"]
    tracking.log_training()
    (only,) = runs(copy)
    assert only.info.status == "FINISHED"
    assert len(only.inputs.dataset_inputs) == 3
    curve = mlflow.MlflowClient().get_metric_history(only.info.run_id, "val_loss")
    assert [point.step for point in curve] == [int(row["epoch"]) for row in read_csv(HISTORY)]


def test_a_failed_attempt_with_other_params_is_left(copy):
    """MLflow would refuse to change them for good."""
    MODEL_SUMMARY.rename("away")
    with pytest.raises(OSError, match=MODEL_SUMMARY.name):
        tracking.log_training()
    Path("away").rename(MODEL_SUMMARY)
    set_param(copy, "evaluate.mistakes", 5)
    tracking.log_training()
    assert sorted(item.info.status for item in runs(copy)) == ["FAILED", "FINISHED"]


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
        connect()


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
    (copy / "exports/model.keras").touch()
    said = run("python", "-m", "stages.summary", cwd=copy).stdout
    figures = json.loads((copy / "reports/metrics.json").read_text())
    assert f"Test accuracy   {figures['accuracy']:.4f}" in said
    there = [name for name in formats.FILES.values() if (copy / "exports" / name).exists()]
    assert "model.keras" in there
    assert "model.tflite" not in there
    assert f"Exported model  exports: {', '.join(there)}" in said
    assert "Predict         .venv/bin/python -m stages.predict PATH" in said
    assert ".venv/bin/mlflow ui --backend-store-uri sqlite:///" in said
