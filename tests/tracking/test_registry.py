"""The model in MLflow: logged so that it can be served, registered once, described by its own evaluation."""

import json
import shutil
import sys

import mlflow
import pandas as pd
import pytest

from darkroom.commands.compare.predictions import read
from darkroom.core import params
from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.core.paths import EXPORT_REPORT, METRICS, MODELS
from darkroom.images.decode import decode
from darkroom.inference import formats
from darkroom.models.classifier import digest
from darkroom.tracking import pipeline_log, registry
from tests.helpers.project import run, set_param
from tests.tracking.test_tracking import by_hand, evaluated_again, runs


def test_what_the_export_took_is_logged(pulled):
    pipeline_log.log_export(None, 2.5, {"onnx": 3.25})
    (held,) = runs(pulled)
    said = json.loads((pulled / "reports/export.json").read_text())
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


def test_the_logged_model_predicts_without_the_project(pulled, project, tmp_path):
    by_hand(pulled)
    experiment = runs(pulled)[0].info.experiment_id
    store = f"sqlite:///{pulled / 'mlflow.db'}"
    mlflow.set_tracking_uri(store)
    (logged,) = mlflow.search_logged_models([experiment], output_format="list")
    said = mlflow.models.get_model_info(logged.model_uri).signature.to_dict()
    assert "binary" in said["inputs"]
    assert all(name in said["outputs"] for name in ("label", "probability", "probabilities"))
    (tmp_path / "away").mkdir()
    paths = [project / row["path"] for row in read_csv(pulled / "reports/predictions.csv")[::20]]
    command = (sys.executable, "-I", "-c", ELSEWHERE, logged.model_uri, *map(str, paths))
    answers = json.loads(run(*command, cwd=tmp_path / "away", MLFLOW_TRACKING_URI=store).stdout.splitlines()[-1])
    exported = formats.load(formats.locate(pulled / "exports"))
    for path, answer in zip(paths, answers, strict=True):
        expected = exported.probabilities(decode(path)[None])[0]
        assert answer["label"] == exported.classes[expected.argmax()]
        assert answer["probability"] == pytest.approx(expected.max(), abs=1e-6)
        assert list(answer["probabilities"]) == exported.classes
        assert list(answer["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-6)


def test_the_logged_model_has_a_small_example_where_the_pictures_are(pulled, project):
    shutil.copytree(project / "data/split", pulled / "data/split")
    pipeline_log.log_export(None)
    (logged,) = mlflow.search_logged_models([runs(pulled)[0].info.experiment_id], output_format="list")
    model = mlflow.pyfunc.load_model(logged.model_uri)
    (data,) = model.input_example["image"]
    first = read_csv(pulled / "reports/predictions.csv")[0]["path"]
    assert (decode(data) == decode(project / first)).all()  # Fashion-MNIST's are small already
    assert model.predict(model.input_example)["probability"][0] <= 1


def test_bad_pictures_are_named_by_their_rows(pulled, project):
    pipeline_log.log_export(None)
    (logged,) = mlflow.search_logged_models([runs(pulled)[0].info.experiment_id], output_format="list")
    model = mlflow.pyfunc.load_model(logged.model_uri)
    good = (project / read_csv(pulled / "reports/predictions.csv")[0]["path"]).read_bytes()
    images = pd.DataFrame({"image": [good, b"no picture", good, good[:100]]})
    sentence = r"No good picture in row 1: not a picture of a known format; row 3: cannot be decoded \(.*\)\.$"
    with pytest.raises(mlflow.MlflowException, match=sentence) as error:
        model.predict(images)
    assert error.value.get_http_status_code() == 400


def test_a_model_is_registered_as_a_candidate(pulled):
    pipeline_log.log_training()
    pipeline_log.log_export("fashion")
    client = mlflow.MlflowClient()
    version = client.get_model_version_by_alias("fashion", "candidate")
    assert (str(version.version), version.run_id) == ("1", runs(pulled)[0].info.run_id)
    figures = json.loads((pulled / "reports/metrics.json").read_text())
    assert version.description.startswith(f"Test accuracy {figures['accuracy']:.4f} (95 % interval ")
    assert float(version.tags["accuracy"]) == pytest.approx(figures["accuracy"], abs=1e-6)
    assert version.tags["model_sha256"] == json.loads((pulled / "reports/train.json").read_text())["model_sha256"]


def test_a_name_that_comes_later_registers_the_model_that_is_logged_and_once(pulled):
    for name in (None, "fashion", "fashion", "clothes", None):
        pipeline_log.log_export(name)
    client = mlflow.MlflowClient()
    (logged,) = mlflow.search_logged_models([runs(pulled)[0].info.experiment_id], output_format="list")
    for name in ("fashion", "clothes"):
        (version,) = client.search_model_versions(f"name = '{name}'")
        assert mlflow.models.get_model_info(f"models:/{name}@candidate").model_uri == logged.model_uri
        assert version.run_id == logged.source_run_id


def test_another_export_of_the_model_is_another_candidate_and_its_evaluation_is_found(pulled):
    pipeline_log.log_training()
    pipeline_log.log_evaluation()
    pipeline_log.log_export("fashion")
    said = json.loads((pulled / "reports/export.json").read_text())
    (pulled / "reports/export.json").write_text(json.dumps(said | {"another": {"bytes": 1}}))
    for _ in range(2):
        pipeline_log.log_export("fashion")
    parent, child = sorted(runs(pulled), key=lambda item: "mlflow.parentRunId" in item.data.tags)
    client = mlflow.MlflowClient()
    assert [client.get_model_version("fashion", number).run_id for number in (1, 2)] == [
        parent.info.run_id,
        child.info.run_id,
    ]
    assert str(client.get_model_version_by_alias("fashion", "candidate").version) == "2"
    assert registry.evaluated_run(child).info.run_id == parent.info.run_id
    assert read("models:/fashion/2") == read("models:/fashion/1") == read("workspace")


def test_an_export_after_another_evaluation_shows_that_one(pulled):
    set_param(pulled, "export.register", "fashion")
    by_hand(pulled)
    first, figures = read("workspace"), json.loads(METRICS.read_text())
    evaluated_again(0.123)
    pipeline_log.log_evaluation()
    report = json.loads(EXPORT_REPORT.read_text())
    EXPORT_REPORT.write_text(json.dumps(report | {"another": {"bytes": 1}}))
    pipeline_log.log_export("fashion")
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


def test_a_model_that_is_exported_after_another_evaluation_only_shows_that_one(pulled):
    """Both lie in one run then, the model and an older evaluation; a run's id means what lies in it."""
    pipeline_log.log_evaluation()
    first = read("workspace")
    evaluated_again(0.123)
    pipeline_log.log_evaluation()
    pipeline_log.log_export("fashion")
    run_id = mlflow.MlflowClient().get_model_version("fashion", "1").run_id
    assert read("models:/fashion/1") == read("workspace") != first
    assert read(run_id) == first


def another_model():
    """Train anew, as far as anybody can tell who looks at models/ alone."""
    said = json.loads((MODELS / "model.json").read_text())
    (MODELS / "model.json").write_text(json.dumps(said | {"temperature": said["temperature"] + 1}))


def test_what_is_of_another_model_is_left_out(pulled):
    set_param(pulled, "export.register", "fashion")
    another_model()
    left_out = "track: left out: the {} is of another model: run `dvc repro`."
    evaluation, export = left_out.format("evaluation in reports/"), left_out.format("export in exports/")
    assert by_hand(pulled).stdout.splitlines()[:-1] == [evaluation, export]
    (only,) = runs(pulled)
    assert only.data.tags["model_sha256"] == digest(MODELS)
    assert not only.data.metrics.keys() & {"test_accuracy", "export_bytes_onnx"}
    METRICS.write_text(json.dumps(json.loads(METRICS.read_text()) | {"model_sha256": digest(MODELS)}))
    assert by_hand(pulled).stdout.splitlines()[:-1] == [export]
    (only,) = runs(pulled)
    assert only.data.metrics["test_accuracy"] == json.loads(METRICS.read_text())["accuracy"]
    client = mlflow.MlflowClient(f"sqlite:///{pulled / 'mlflow.db'}")
    assert not client.search_registered_models()
    assert not client.search_logged_models([only.info.experiment_id])


def test_no_version_is_described_by_the_evaluation_of_another_model(pulled):
    METRICS.write_text(json.dumps(json.loads(METRICS.read_text()) | {"model_sha256": "another"}))
    with pytest.raises(pipeline_log.OtherModelError, match="would describe it as fashion, is of another model"):
        pipeline_log.log_export("fashion")
    assert runs(pulled)[0].data.metrics["export_bytes_onnx"] > 0
    assert not mlflow.MlflowClient().search_registered_models()


@pytest.mark.parametrize("last", ["set_registered_model_alias", "update_model_version"])
def test_a_registration_that_was_cut_off_is_finished(pulled, monkeypatch, last):
    def gone(*_):
        raise ConnectionError("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, last, gone)
        with pytest.raises(ConnectionError):
            pipeline_log.log_export("fashion")
    pipeline_log.log_export("fashion")
    client = mlflow.MlflowClient()
    (version,) = client.search_model_versions("name = 'fashion'")
    assert version.description.startswith("Test accuracy ")
    assert client.get_model_version_by_alias("fashion", "candidate").version == version.version
    # What is finished is left alone: the alias may be another version's by now.
    client.delete_registered_model_alias("fashion", "candidate")
    pipeline_log.log_export("fashion")
    assert not client.get_registered_model("fashion").aliases


@pytest.mark.parametrize("name", ["the dog's", 'a "b"', "animals/flowers", "a:b", "a\n", ""])
def test_a_name_that_would_break_mlflows_queries_and_addresses_is_refused(workspace, name):
    set_param(workspace, "export.register", "Animals and_flowers-2.1")
    params.check(params.load())
    set_param(workspace, "export.register", name)
    with pytest.raises(
        UserError, match=r"export\.register is .*, but (a name may have letters, digits, spaces|string)"
    ):
        params.check(params.load())
