"""A team's MLflow server with PostgreSQL and passwords, as the README sets it up, and several who log at once."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import requests

from darkroom.core.files import read_csv
from darkroom.tracking.store import public
from tests.helpers.project import ROOT, repro, run, set_param, without
from tests.helpers.servers import MEMBER, Team, answers, free_port, team, wait

READER, HERS = "grace", "another long secret"
EPOCHS = 60


@pytest.fixture(scope="module")
def server():
    """The server, with a member and another one who only reads here."""
    with team() as started:
        started.user(READER, HERS)
        yield started


def asked(server: Team, path: str, **content) -> dict:
    """What the server answers to the other member, by HTTP alone."""
    call = requests.post if content else requests.get
    answer = call(
        f"{server.uri}/api/2.0/mlflow/{path}", auth=(READER, HERS), timeout=60, **({"json": content} if content else {})
    )
    assert answer.ok, answer.text
    return answer.json()


def runs(server: Team, experiment: str) -> list[dict]:
    """All runs of an experiment, the newest first."""
    number = asked(server, f"experiments/get-by-name?experiment_name={experiment}")["experiment"]["experiment_id"]
    return asked(server, "runs/search", experiment_ids=[number], max_results=100).get("runs", [])


def curve(server: Team, held: dict) -> dict[int, float]:
    """The validation loss of each epoch; an epoch that is there twice is an error."""
    points = asked(server, f"metrics/get-history?run_id={held['info']['run_id']}&metric_key=val_loss&max_results=1000")
    found = {int(point["step"]): point["value"] for point in points.get("metrics", [])}
    assert len(found) == len(points.get("metrics", []))
    return found


def runs_of(server: Team, experiment: str) -> list[dict]:
    """The same, also while nobody has made the experiment."""
    try:
        return runs(server, experiment)
    except AssertionError:
        return []


def values(held: dict, kind: str) -> dict:
    """The metrics, params or tags of a run by their names."""
    return {item["key"]: item["value"] for item in held["data"].get(kind, [])}


def history(folder: Path) -> dict[int, float]:
    """The same by the training's own file."""
    return {int(row["epoch"]): float(row["val_loss"]) for row in read_csv(folder / "reports/history.csv")}


@pytest.fixture
def copy(project, tmp_path):
    """The small project that has run, for a test to train in; what is trained has many short epochs."""
    folder = tmp_path / "copy"
    shutil.copytree(project, folder, symlinks=True, ignore=shutil.ignore_patterns("mlflow.db", "mlartifacts"))
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
def test_one_trains_and_another_reads_it_all(server, copy, tmp_path):
    set_param(copy, "train.head.dropout", 0.3)
    set_param(copy, "export.register", "animals")
    assert repro(copy, **server.variables()) == ["train", "evaluate", "export"]
    assert not (copy / "mlflow.db").exists()
    (held,) = runs(server, tmp_path.name)
    assert (held["info"]["status"], values(held, "params")["train.head.dropout"]) == ("FINISHED", "0.3")
    assert values(held, "tags")["mlflow.user"]
    figures = json.loads((copy / "reports/metrics.json").read_text())
    assert values(held, "metrics")["test_accuracy"] == pytest.approx(figures["accuracy"])
    assert curve(server, held) == pytest.approx(history(copy))
    hers = server.variables(READER, HERS)
    download = ("mlflow", "artifacts", "download", "-r", held["info"]["run_id"], "-a", "evaluation", "-d", "got")
    run(*download, cwd=tmp_path, **hers)
    for name in ("predictions.csv", "report.html", "plots/confusion.png"):
        assert (tmp_path / "got/evaluation" / name).read_bytes() == (copy / "reports" / name).read_bytes()
    assert any((server.folder / "files").rglob("report.html")), "files are to come through the server's proxy"
    rows = read_csv(copy / "reports/predictions.csv")[::10]
    command = (
        sys.executable,
        "-I",
        "-c",
        ELSEWHERE,
        "models:/animals@candidate",
        *(str(copy / row["path"]) for row in rows),
    )
    assert json.loads(run(*command, cwd=tmp_path, **hers).stdout.splitlines()[-1]) == [row["predicted"] for row in rows]


@pytest.mark.full
def test_a_stage_that_is_refused_says_so_and_trains_nothing(server, copy):
    before = (copy / "models/model.json").stat().st_mtime_ns
    wrong = server.uri.replace("//", f"//{MEMBER}:my%20own%20secret@")
    done = run("python", "-m", "stages.train", cwd=copy, check=False, MLFLOW_TRACKING_URI=wrong)
    sentence = f"the MLflow store {server.uri} does not take the name {MEMBER} with this password"
    assert (done.returncode, done.stderr.splitlines()[-1].startswith(f"train: {sentence}")) == (1, True), done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not any(word in done.stdout + done.stderr for word in ("own", "secret@"))
    assert (copy / "models/model.json").stat().st_mtime_ns == before
    for command in ("summary", "track"):
        said = run("python", "-m", f"stages.{command}", cwd=copy, check=False, MLFLOW_TRACKING_URI=wrong)
        assert server.uri in said.stdout + said.stderr
        assert "own" not in said.stdout + said.stderr


def cannot(folder: Path, **environment: str) -> str:
    """What a command says that cannot use its store, in seconds."""
    done = run(sys.executable, "-c", CONNECT, cwd=folder, PYTHONPATH=str(ROOT), **environment)
    return done.stdout.strip()


CONNECT = """
import time
from stages.common.errors import UserError
from stages.common.tracking.store import connect
started = time.monotonic()
try:
    connect()
except UserError as error:
    print(error)
assert time.monotonic() - started < 60
"""


@pytest.mark.full
def test_what_is_wrong_with_a_server_is_told_apart(server, copy):
    member = server.variables()
    assert cannot(copy, **member) == ""
    for changes, words in (
        (
            {"MLFLOW_TRACKING_PASSWORD": "not this one"},
            f"does not take the name {MEMBER} with this password: set MLFLOW",
        ),
        ({"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": ""}, "wants a name and a password: set MLFLOW"),
        (
            {"MLFLOW_TRACKING_URI": server.uri.replace("localhost", "127.0.0.1")},
            "does not answer to this name: start it",
        ),
        ({"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}"}, "does not answer: start it"),
        ({"MLFLOW_TRACKING_URI": f"http://localhost:{server.database['PGPORT']}"}, "does not answer: start it"),
    ):
        said = cannot(copy, **member | changes)
        assert f"{changes.get('MLFLOW_TRACKING_URI', server.uri)} {words}" in said
        assert said.count("\n") == 0


@pytest.mark.full
def test_who_may_not_write_an_experiment_is_told_before_training(server, copy):
    member = server.variables("lin", "lins long secret")
    server.user("lin", "lins long secret")
    server.grant("lin", "run", "*", "DENY")
    done = run("python", "-m", "stages.train", cwd=copy, check=False, **member)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"train: the MLflow store {server.uri} does not let lin write the experiment: ask who administers it."
    )
    server.grant("lin", "experiment", "*", "DENY")
    assert "does not let lin write the experiment" in cannot(copy, **member)


def test_a_page_that_is_no_mlflow_server_and_an_address_that_is_none(workspace):
    page = subprocess.Popen(
        (sys.executable, "-m", "http.server", port := free_port(), "--bind", "127.0.0.1"), cwd=workspace
    )
    try:
        wait(page, None, lambda: answers(port))
        said = cannot(workspace, MLFLOW_TRACKING_URI=f"http://ada:geheim@127.0.0.1:{port}")
    finally:
        page.terminate()
        page.wait(30)
    assert said.startswith(f"the MLflow store http://127.0.0.1:{port} does not answer as an MLflow server does (")
    assert "geheim" not in said
    said = cannot(workspace, MLFLOW_TRACKING_URI="htp://ada:geheim@127.0.0.1")
    assert said.startswith(
        "the MLflow store htp://127.0.0.1 has no address that MLflow knows: MLFLOW_TRACKING_URI is to be"
    )


def test_a_server_that_never_answers_is_given_up(workspace):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        said = cannot(workspace, MLFLOW_TRACKING_URI=address)
    assert said == f"the MLflow store {address} does not answer: start it, or set or unset MLFLOW_TRACKING_URI."


@pytest.mark.full
def test_a_server_that_stops_in_a_training_costs_nothing(server, copy, tmp_path):
    """It is away until after the evaluation; the export then writes the training, `track` the evaluation."""
    set_param(copy, "train.epochs", EPOCHS)
    set_param(copy, "train.patience", None)
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
    run("python", "-m", "stages.track", cwd=copy, **member)
    (held,) = runs(server, tmp_path.name)
    assert held["info"]["status"] == "FINISHED"
    assert curve(server, held) == pytest.approx(history(copy))
    figures = json.loads((copy / "reports/metrics.json").read_text())
    assert values(held, "metrics")["test_accuracy"] == pytest.approx(figures["accuracy"])
    assert {"export_sha256", "evaluation_sha256", "model_sha256"} <= set(values(held, "tags"))


# Logs a training of its own, at the same moment as the others, from a folder like those of DVC's queue.
TRAIN = """
import sys, time
from pathlib import Path
import mlflow
from stages.common.tracking import tracking
number, together = int(sys.argv[1]), Path(sys.argv[2])
(together / str(number)).touch()
while len(list(together.iterdir())) < int(sys.argv[3]):
    time.sleep(0.01)
with tracking.training_run(Path("known")) as log:
    for epoch in range(1, 21):
        log(epoch, {"loss": number + epoch / 100, "val_loss": number + epoch / 100})
    Path("reports/history.csv").write_text("epoch,loss,val_loss\\n" + "".join(
        f"{epoch},{number + epoch / 100},{number + epoch / 100}\\n" for epoch in range(1, 21)))
"""


def log_at_once(pulled: Path, count: int, **environment: str) -> list[str]:
    """Log so many trainings from so many processes at the same moment; what each said."""
    (pulled / "together").mkdir()
    started = []
    for number in range(count):
        folder = pulled / f".dvc/tmp/exps/{number}"
        shutil.copytree(pulled, folder, ignore=without(pulled, ".dvc", "together", ".git", "exports"))
        set_param(folder, "base.seed", number)
        command = (sys.executable, "-c", TRAIN, str(number), str(pulled / "together"), str(count))
        started.append(
            subprocess.Popen(
                command,
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0] * count, "\n".join(said)
    return said


def check_all_are_there(count: int, found: dict[str, tuple[str, dict[int, float]]]) -> None:
    """`found` is each run's status and curve by its seed."""
    assert sorted(map(int, found)) == list(range(count))
    for seed, (status, points) in found.items():
        assert status == "FINISHED"
        assert points == pytest.approx({epoch: int(seed) + epoch / 100 for epoch in range(1, 21)})


def test_many_begin_at_once_on_an_empty_sqlite_store(pulled):
    said = "".join(log_at_once(pulled, 6))
    assert "not written" not in said
    client = mlflow.MlflowClient(f"sqlite:///{pulled / 'mlflow.db'}")
    held = client.search_runs([client.get_experiment_by_name("darkroom").experiment_id])
    assert len(held) == 6
    check_all_are_there(
        6,
        {
            one.data.params["base.seed"]: (
                one.info.status,
                {point.step: point.value for point in client.get_metric_history(one.info.run_id, "val_loss")},
            )
            for one in held
        },
    )


@pytest.mark.full
def test_many_begin_at_once_on_a_server(server, pulled, tmp_path):
    set_param(pulled, "tracking.experiment", tmp_path.name)
    said = "".join(log_at_once(pulled, 4, **server.variables()))
    assert "not written" not in said
    held = runs(server, tmp_path.name)
    assert len(held) == 4
    check_all_are_there(
        4, {values(one, "params")["base.seed"]: (one["info"]["status"], curve(server, one)) for one in held}
    )


def test_an_address_is_shown_without_its_password():
    for address, shown in (
        ("http://ada:geheim@host:5000/sub", "http://host:5000/sub"),
        ("http://ada:ge@heim/geheim@host", "http://host"),
        ("postgresql://ada:geheim@host/db", "postgresql://host/db"),
        (
            "postgresql://host/db?user=ada&password=geheim&sslmode=require",
            "postgresql://host/db?user=ada&password=&sslmode=require",
        ),
        ("sqlite:////home/ada/mlflow.db", "sqlite:////home/ada/mlflow.db"),
        ("API request to http://ada:geheim@host/api failed", "API request to http://host/api failed"),
    ):
        assert public(address) == shown
