"""A team's MLflow server with PostgreSQL and passwords, set up as in docs/server.md, and several who log at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import requests

from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.images.decode import decode
from darkroom.inference import formats
from darkroom.tracking.store import connect
from tests.helpers.processes import queued, together
from tests.helpers.project import BRIEF, copy_project, repro, run, set_param, set_params, without
from tests.helpers.servers import MEMBER, Team, free_port, team, wait
from tests.helpers.tracking import check_epochs, log_many_epochs

READER, HERS = "grace", "another long secret"
EPOCHS = 60


@pytest.fixture(scope="module")
def server():
    """The server, with a member, and a second one who only reads."""
    with team() as started:
        started.user(READER, HERS)
        yield started


def get(server: Team, path: str, **content) -> dict:
    """Return the server's answer to the second member, by HTTP alone."""
    call = requests.post if content else requests.get
    answer = call(
        f"{server.uri}/api/2.0/mlflow/{path}", auth=(READER, HERS), timeout=60, **({"json": content} if content else {})
    )
    assert answer.ok, answer.text
    return answer.json()


def runs(server: Team, experiment: str) -> list[dict]:
    """Return all runs of an experiment, newest first."""
    number = get(server, f"experiments/get-by-name?experiment_name={experiment}")["experiment"]["experiment_id"]
    return get(server, "runs/search", experiment_ids=[number], max_results=100).get("runs", [])


def curve(server: Team, logged: dict) -> dict[int, float]:
    """Return the validation loss of each epoch; an epoch that is there twice is an error."""
    points = get(server, f"metrics/get-history?run_id={logged['info']['run_id']}&metric_key=val_loss&max_results=1000")
    losses = {int(point["step"]): point["value"] for point in points.get("metrics", [])}
    assert len(losses) == len(points.get("metrics", []))
    return losses


def runs_of(server: Team, experiment: str) -> list[dict]:
    """Return the same, or nothing while the experiment does not exist."""
    try:
        return runs(server, experiment)
    except AssertionError:
        return []


def values(logged: dict, kind: str) -> dict:
    """Return the metrics, params or tags of a run by name."""
    return {item["key"]: item["value"] for item in logged["data"].get(kind, [])}


def history(folder: Path) -> dict[int, float]:
    """Return the validation loss of each epoch from the training's own file."""
    return {int(row["epoch"]): float(row["val_loss"]) for row in read_csv(folder / "reports/history.csv")}


@pytest.fixture
def copy(project, tmp_path):
    """The small project after its first run, for a test to train in."""
    folder = tmp_path / "copy"
    copy_project(project, folder, without(project, "mlflow.db", "mlartifacts"))
    set_param(folder, "tracking.experiment", tmp_path.name)  # each test has its own
    return folder


# Loads a model of the server with no more than a password, and predicts picture files.
ELSEWHERE = """
import json, sys, mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
images = pandas.DataFrame({"image": [open(path, "rb").read() for path in sys.argv[2:]]})
print(json.dumps([answer["label"] for answer in model.predict(images).to_dict("records")]))
"""


@pytest.mark.full
def test_one_trains_and_another_reads_everything(server, copy, tmp_path):
    set_params(copy, {**BRIEF, "train.head.dropout": 0.3, "export.register": "animals"})
    assert repro(copy, **server.variables()) == ["train", "evaluate", "export"]
    assert not (copy / "mlflow.db").exists()
    (logged,) = runs(server, tmp_path.name)
    assert (logged["info"]["status"], values(logged, "params")["train.head.dropout"]) == ("FINISHED", "0.3")
    assert values(logged, "tags")["mlflow.user"]
    figures = json.loads((copy / "reports/metrics.json").read_text())
    assert values(logged, "metrics")["test_accuracy"] == pytest.approx(figures["accuracy"])
    assert curve(server, logged) == pytest.approx(history(copy))
    hers = server.variables(READER, HERS)
    download = ("mlflow", "artifacts", "download", "-r", logged["info"]["run_id"], "-a", "evaluation", "-d", "got")
    run(*download, cwd=tmp_path, **hers)
    for name in ("predictions.csv", "report.html", "plots/confusion.png"):
        assert (tmp_path / "got/evaluation" / name).read_bytes() == (copy / "reports" / name).read_bytes()
    assert any((server.folder / "files").rglob("report.html")), "files are to come through the server's proxy"
    pictures = [copy / row["path"] for row in read_csv(copy / "reports/predictions.csv")[::10]]
    command = (
        sys.executable,
        "-I",
        "-c",
        ELSEWHERE,
        "models:/animals@candidate",
        *map(str, pictures),
    )
    exported = formats.load(formats.locate(copy / "exports"))
    expected = [exported.classes[exported.probabilities(decode(path)[None])[0].argmax()] for path in pictures]
    assert json.loads(run(*command, cwd=tmp_path, **hers).stdout.splitlines()[-1]) == expected


@pytest.mark.full
def test_a_stage_that_is_refused_says_so_and_trains_nothing(server, copy):
    before = (copy / "models/model.json").stat().st_mtime_ns
    wrong = server.uri.replace("//", f"//{MEMBER}:my%20own%20secret@")
    done = run("python", "-m", "stages.train", cwd=copy, check=False, MLFLOW_TRACKING_URI=wrong)
    sentence = f"the MLflow store {server.uri} rejects user {MEMBER} with this password"
    assert (done.returncode, done.stderr.splitlines()[-1].startswith(f"train: {sentence}")) == (1, True), done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not any(word in done.stdout + done.stderr for word in ("own", "secret@"))
    assert (copy / "models/model.json").stat().st_mtime_ns == before
    for command in ("summary", "track"):
        result = run("python", "-m", "darkroom", command, cwd=copy, check=False, MLFLOW_TRACKING_URI=wrong)
        assert server.uri in result.stdout + result.stderr
        assert "own" not in result.stdout + result.stderr


def failure(environment: dict[str, str]) -> str:
    """Return the error of connecting to a store; empty if there is none."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            connect()
        except UserError as error:
            return str(error)
        finally:
            mlflow.set_tracking_uri(None)
    return ""


@pytest.mark.full
def test_errors_of_a_server_are_told_apart(server, copy, monkeypatch):
    monkeypatch.chdir(copy)
    member = server.variables()
    assert failure(member) == ""
    for changes, words in (
        (
            {"MLFLOW_TRACKING_PASSWORD": "not this one"},
            f"rejects user {MEMBER} with this password: set MLFLOW",
        ),
        (
            {"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": ""},
            "requires a user name and a password: set MLFLOW",
        ),
        (
            {"MLFLOW_TRACKING_URI": server.uri.replace("localhost", "127.0.0.1")},
            "does not accept this host name: add it",
        ),
        ({"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}"}, "does not answer: start it"),
        ({"MLFLOW_TRACKING_URI": f"http://localhost:{server.database['PGPORT']}"}, "does not answer: start it"),
    ):
        text = failure(member | changes)
        assert f"{changes.get('MLFLOW_TRACKING_URI', server.uri)} {words}" in text
        assert text.count("\n") == 0


@pytest.mark.full
def test_a_user_who_may_not_write_is_told_before_training(server, copy, monkeypatch):
    member = server.variables("lin", "lins long secret")
    server.user("lin", "lins long secret")
    server.grant("lin", "run", "*", "DENY")
    done = run("python", "-m", "stages.train", cwd=copy, check=False, **member)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"train: the MLflow store {server.uri} does not allow lin to write to the experiment: ask its administrator."
    )
    server.grant("lin", "experiment", "*", "DENY")
    monkeypatch.chdir(copy)
    assert "does not allow lin to write to the experiment" in failure(member)


@pytest.mark.full
def test_a_server_that_stops_during_training_costs_nothing(server, copy, tmp_path):
    """It is away until after the evaluation; then the export writes the training, and `track` the evaluation."""
    set_params(copy, {**BRIEF, "train.epochs": EPOCHS, "train.patience": None})
    member = server.variables()
    with (tmp_path / "train.log").open("w") as log:
        train = subprocess.Popen(
            (sys.executable, "-m", "stages.train"), cwd=copy, env=os.environ | member, stdout=log, stderr=log
        )
    wait(train, tmp_path / "train.log", lambda: runs_of(server, tmp_path.name))
    wait(train, tmp_path / "train.log", lambda: curve(server, runs(server, tmp_path.name)[0]))
    server.stop()
    assert train.wait(300) == 0, (tmp_path / "train.log").read_text()
    assert "MLflow: not written" in (tmp_path / "train.log").read_text()
    assert list(history(copy)) == list(range(1, EPOCHS + 1))
    assert "MLflow: not written" in run("python", "-m", "stages.evaluate", cwd=copy, **member).stdout
    server.start()
    before = curve(server, runs(server, tmp_path.name)[0])
    assert 0 < len(before) < EPOCHS
    run("python", "-m", "stages.export", cwd=copy, **member)
    run("python", "-m", "darkroom", "track", cwd=copy, **member)
    (logged,) = runs(server, tmp_path.name)
    assert logged["info"]["status"] == "FINISHED"
    assert curve(server, logged) == pytest.approx(history(copy))
    figures = json.loads((copy / "reports/metrics.json").read_text())
    assert values(logged, "metrics")["test_accuracy"] == pytest.approx(figures["accuracy"])
    assert {"export_sha256", "evaluation_sha256", "model_sha256"} <= set(values(logged, "tags"))


@pytest.mark.full
def test_many_start_at_once_on_a_server(server, pulled, tmp_path):
    set_param(pulled, "tracking.experiment", tmp_path.name)
    calls = []
    for seed, folder in enumerate(queued(pulled, 4)):
        set_param(folder, "base.seed", seed)
        calls.append((folder, (seed,)))
    assert "not written" not in "".join(together(log_many_epochs, calls, server.variables()))
    logged = runs(server, tmp_path.name)
    check_epochs(
        [(values(run, "params")["base.seed"], run["info"]["status"], [*curve(server, run).items()]) for run in logged],
        4,
    )
