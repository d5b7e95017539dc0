"""The registered model behind a real `mlflow models serve`, asked by the documents' own commands."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest
import requests

from darkroom.core.files import read_csv
from darkroom.inference import formats
from darkroom.inference.predictor import classify
from darkroom.tracking import pipeline_log
from tests.helpers.documents import block, line
from tests.helpers.project import inside, run
from tests.helpers.servers import answers, free_port, wait

PORT = "5001"  # in docs/prediction.md


@pytest.fixture(scope="module")
def served(project, tmp_path_factory):
    """A copy of the small project whose registered model is served, and the server's port."""
    folder = tmp_path_factory.mktemp("served") / "project"
    with inside(project, folder):
        pipeline_log.log_export("animals")
    port = free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (folder / "serve.log").open("w") as log:
        server = subprocess.Popen(
            ["bash", "-c", line("models serve").replace(PORT, port)],
            cwd=folder,
            env=os.environ | {"PATH": path},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait(server, folder / "serve.log", lambda: answers(port, "/health"))
        yield folder, port
    finally:
        with contextlib.suppress(ProcessLookupError):  # it died: the log says why
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def ask(port, images):
    rows = [{"image": b64encode(image).decode()} for image in images]
    return requests.post(f"http://127.0.0.1:{port}/invocations", json={"dataframe_records": rows}, timeout=60)


@pytest.mark.full
def test_it_answers_as_the_command_predicts(served):
    folder, port = served
    paths = [folder / row["path"] for row in read_csv(folder / "reports/predictions.csv")[::5]]
    predictions = ask(port, [path.read_bytes() for path in paths]).json()["predictions"]
    exported = formats.load(formats.locate(folder / "exports"))
    assert len(predictions) == len(paths) >= 20
    for answer, (_, expected) in zip(predictions, classify(exported, paths), strict=True):
        assert answer["label"] == exported.classes[expected.argmax()]
        assert answer["probability"] == pytest.approx(expected.max(), abs=1e-6)
        assert answer["probabilities"] == pytest.approx(dict(zip(exported.classes, expected, strict=True)), abs=1e-6)


@pytest.mark.full
def test_the_readmes_command_asks_it_about_a_file(served, tmp_path):
    folder, port = served
    row = read_csv(folder / "reports/predictions.csv")[0]
    picture = (folder / row["path"]).read_bytes()
    # A photograph is larger than an argument of a command may be; what follows a picture's end is ignored.
    (tmp_path / "picture.jpg").write_bytes(picture + bytes(1_000_000))
    done = run("bash", "-c", block("/invoc").replace(PORT, port), cwd=tmp_path)
    (answer,) = json.loads(done.stdout)["predictions"]
    exported = formats.load(formats.locate(folder / "exports"))
    [(_, expected)] = classify(exported, [folder / row["path"]])
    assert answer["label"] == exported.classes[expected.argmax()]


@pytest.mark.full
def test_it_takes_bytes_in_every_usual_shape(served):
    folder, port = served
    picture = next((folder / "data/split/test/Bag").iterdir()).read_bytes()
    text = b64encode(picture).decode()
    requests_ = [
        ("application/json", json.dumps({"instances": [text]})),
        ("application/json", json.dumps({"instances": [{"image": {"b64": text}}]})),
        ("application/json", json.dumps({"inputs": {"image": [text]}})),
        ("application/json", json.dumps({"dataframe_split": {"columns": ["image"], "data": [[text]]}})),
        ("application/json", json.dumps([f"data:image/png;base64,{text}"])),
        ("text/csv", f"image\n{text}\n"),
        ("image/png", picture),
    ]
    answers_ = [send(port, content_type, body) for content_type, body in requests_]
    assert {answer.status_code for answer in answers_} == {200}, [answer.text for answer in answers_]
    assert len({answer.text for answer in answers_}) == 1


@pytest.mark.full
def test_a_bad_request_is_refused_in_one_line(served):
    folder, port = served
    path = next((folder / "data/split/test/Bag").iterdir())
    good = path.read_bytes()
    answer = ask(port, [good, b"no picture"])
    assert answer.status_code == 400
    assert answer.json()["message"] == "Unreadable pictures: row 1: not a picture of a known format."
    secret = "squeamish.ossifrage"
    for content_type, body in [
        ("text/csv", f"image\n{path}\n"),  # a file on the server
        ("text/csv", f"image\n{secret}\n"),
        ("text/csv", secret),
        ("application/json", json.dumps({"instances": [str(path)]})),
        ("application/json", json.dumps({"dataframe_records": [{"image": secret}]})),
        ("application/json", json.dumps({"dataframe_records": [{secret: "YQ=="}]})),
        ("application/json", f'{{"instances": "{secret}'),
        ("application/json", json.dumps({"messages": [secret]})),
        ("application/json; charset=utf-16", secret),
        ("application/vnd.apache.parquet", secret),
        ("application/x-www-form-urlencoded", secret),
        ("", secret),
    ]:
        answer = send(port, content_type, body)
        assert answer.status_code == 400, (content_type, body)
        assert "Traceback" not in answer.text
        assert secret not in answer.text
        assert "Bag" not in answer.text
    assert secret not in (folder / "serve.log").read_text()
    assert ask(port, [good]).ok


def send(port, content_type, body):
    return requests.post(
        f"http://127.0.0.1:{port}/invocations", data=body, headers={"Content-Type": content_type}, timeout=60
    )
