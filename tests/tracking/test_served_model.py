"""The exported model in MLflow: it predicts without this project."""

import base64
import json
import shutil
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server

from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.core.paths import PREDICTIONS
from darkroom.images.decode import decode
from darkroom.inference import digests, formats
from darkroom.tracking import pipeline_log, served_model
from darkroom.tracking.store import connect
from tests.helpers.project import inside, run, without

# Loads a model of MLflow without this project, and predicts picture files.
ELSEWHERE = """
import json, sys, mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
images = pandas.DataFrame({"image": [open(path, "rb").read() for path in sys.argv[2:]]})
print(json.dumps(model.predict(images).to_dict("records")))
assert "tensorflow" not in sys.modules
"""


@pytest.fixture(scope="module")
def logged(project, tmp_path_factory):
    """The folder of a project whose export was logged, with its pictures beside it, and the model in MLflow."""
    folder = tmp_path_factory.mktemp("logged") / "project"
    with inside(project, folder, without(project, "mlflow.db", "mlartifacts", ".cache", ".dvc/cache", "data")):
        shutil.copytree(project / "data/split", folder / "data/split")
        pipeline_log.log_export(None)
        (model,) = mlflow.search_logged_models([connect()], output_format="list")
        yield folder, model


def test_the_logged_model_predicts_without_the_project(logged, tmp_path):
    folder, model = logged
    paths = [folder / row["path"] for row in read_csv(PREDICTIONS)[::20]]
    store = f"sqlite:///{folder / 'mlflow.db'}"
    command = (sys.executable, "-I", "-c", ELSEWHERE, model.model_uri, *map(str, paths))
    answers = json.loads(run(*command, cwd=tmp_path, MLFLOW_TRACKING_URI=store).stdout.splitlines()[-1])
    exported = formats.load(formats.locate(folder / "exports"))
    for path, answer in zip(paths, answers, strict=True):
        expected = exported.probabilities(decode(path)[None])[0]
        assert answer["label"] == exported.classes[expected.argmax()]
        assert answer["probability"] == pytest.approx(expected.max(), abs=1e-6)
        assert list(answer["probabilities"]) == exported.classes
        assert list(answer["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-6)


def test_it_has_digests_of_its_own(logged):
    """The store or a copy of it may be damaged later, and a damaged export is not logged as an intact one."""
    folder, entry = logged
    exports = Path(mlflow.artifacts.download_artifacts(entry.model_uri)) / "artifacts/exports"
    assert digests.verify(exports / "model.onnx")
    assert {path.name for path in exports.iterdir()} == {"MODEL_CARD.md", "SHA256SUMS", "classes.json", "model.onnx"}
    card = folder / "exports/MODEL_CARD.md"
    text = card.read_text()
    card.write_text(f"{text} ")
    with pytest.raises(UserError, match=r"exports/MODEL_CARD.md does not match"):
        served_model.log()
    card.write_text(text)


def test_its_signature_names_what_goes_in_and_out(logged):
    signature = mlflow.models.get_model_info(logged[1].model_uri).signature.to_dict()
    assert "binary" in signature["inputs"]
    assert all(name in signature["outputs"] for name in ("label", "probability", "probabilities"))


def test_it_has_a_small_example_and_names_unreadable_pictures(logged):
    folder, entry = logged
    model = mlflow.pyfunc.load_model(entry.model_uri)
    (data,) = model.input_example["image"]
    first = folder / read_csv(PREDICTIONS)[0]["path"]
    assert (decode(data) == decode(first)).all()  # Fashion-MNIST's pictures are small already
    assert model.predict(model.input_example)["probability"][0] <= 1
    good = first.read_bytes()
    images = pd.DataFrame({"image": [good, b"no picture", good, good[:100]]})
    sentence = r"Unreadable pictures: row 1: not a picture of a known format; row 3: cannot be decoded \(.*\)\.$"
    with pytest.raises(mlflow.MlflowException, match=sentence) as error:
        model.predict(images)
    assert error.value.get_http_status_code() == 400


def test_text_is_base64_and_never_a_path(logged):
    """Also past MLflow's server, which other programs replace."""
    folder, entry = logged
    model = mlflow.pyfunc.load_model(entry.model_uri)
    path = folder / read_csv(PREDICTIONS)[0]["path"]
    text = base64.b64encode(path.read_bytes()).decode()
    (as_text, as_bytes) = model.predict(pd.DataFrame({"image": [text, path.read_bytes()]})).to_dict("records")
    assert as_text == as_bytes
    for values in ([str(path)], [path], [None]):
        with pytest.raises(mlflow.MlflowException):
            model.predict(pd.DataFrame({"image": values}))


def test_mlflows_server_answers_errors_in_one_line(logged):
    folder, entry = logged
    model = mlflow.pyfunc.load_model(entry.model_uri)
    path = folder / read_csv(PREDICTIONS)[0]["path"]
    text = base64.b64encode(path.read_bytes()).decode()
    assert scoring_server.invocations(f"image\n{text}".encode(), "text/csv", model, None).status == 200
    with pytest.raises(mlflow.MlflowException) as raised:
        scoring_server.invocations(f"image\n{path}".encode(), "text/csv", model, None)
    assert raised.value.get_http_status_code() == 400
    assert raised.value.message == "row 0: a picture must be base64 text, and this is not."
