"""Where runs are recorded, and the errors of stores."""

import errno
import http.server
import os
import re
import socket
import threading

import mlflow
import pytest

from darkroom.core.errors import UserError
from darkroom.tracking import address
from darkroom.tracking.failures import best_effort, one_line, readable_errors
from darkroom.tracking.store import connect
from tests.helpers.project import run
from tests.helpers.stores import new_store


@pytest.fixture
def failure(workspace, monkeypatch):
    """`failure(uri)` is the sentence in which connecting to a store fails."""

    def connected(uri):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(UserError) as error:
            connect()
        return str(error.value)

    yield connected
    mlflow.set_tracking_uri(None)


def test_a_server_that_is_away_or_never_answers_is_named(failure):
    remedy = "does not answer: start it, or set or unset MLFLOW_TRACKING_URI."
    assert failure("http://127.0.0.1:9") == f"the MLflow store http://127.0.0.1:9 {remedy}"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert failure(uri) == f"the MLflow store {uri} {remedy}"


def test_another_server_and_an_unsupported_address_are_named_without_the_password(failure):
    handler = http.server.SimpleHTTPRequestHandler
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        text = failure(f"http://ada:geheim@127.0.0.1:{page.server_port}")
        page.shutdown()
    assert text.startswith(
        f"the MLflow store http://127.0.0.1:{page.server_port} does not answer like an MLflow server ("
    )
    assert "geheim" not in text
    assert failure("htp://ada:geheim@127.0.0.1") == (
        "the MLflow store htp://127.0.0.1 is not an address that MLflow supports: set MLFLOW_TRACKING_URI to "
        "http://HOST:PORT, or unset it for a local file."
    )


def test_addresses_that_lead_nowhere(failure):
    assert failure("http://ada:geheim@[::1") == (
        "MLFLOW_TRACKING_URI is not an address (Invalid IPv6 URL): correct or unset it."
    )
    sentence = "the folder of MLflow's database no/such/runs.db does not exist: create it, or set another address."
    assert failure("sqlite:///no/such/runs.db") == sentence


def test_a_store_that_goes_away_costs_no_work(workspace, capsys):
    def gone():
        raise ConnectionError("connection to http://ada:geheim@host\nrefused")

    assert best_effort(gone) is False
    line = capsys.readouterr().out
    assert line.startswith("MLflow: not written: the connection to the MLflow store sqlite:///")
    assert line.endswith(
        "ended (connection to http://host refused); then run `python -m darkroom track`, which writes it.\n"
    )
    assert one_line(ValueError("x" * 500)) == "x" * 200


@pytest.fixture
def own_store(workspace):
    """The id of the experiment in a project's own store."""
    new_store(workspace / "mlflow.db")
    yield connect()
    mlflow.set_tracking_uri(None)


def test_a_fault_of_ours_is_kept_with_its_traceback(workspace, capsys):
    def write():
        return {}["missing"]

    assert best_effort(write) is False
    line = capsys.readouterr().out
    assert line.startswith("MLflow: not written: a fault of this program (KeyError: 'missing'); please report it with ")
    assert "track" not in line  # which would fail, too
    (file,) = (workspace / ".cache/errors").iterdir()
    assert str(file) in line
    assert 'return {}["missing"]' in file.read_text()
    with pytest.raises(KeyError), readable_errors():
        write()


def test_a_deleted_experiment_is_restored_by_the_command_in_the_sentence(own_store, workspace):
    mlflow.MlflowClient().delete_experiment(own_store)
    with pytest.raises(UserError, match="the experiment darkroom was deleted in MLflow: restore it") as raised:
        connect()
    run("bash", "-c", re.search("`([^`]+)`", str(raised.value))[1], cwd=workspace)
    assert connect() == own_store


def test_what_is_deleted_while_it_is_written_is_named(own_store, workspace, capsys):
    client = mlflow.MlflowClient()
    run_id = client.create_run(own_store).info.run_id
    client.delete_run(run_id)
    assert not best_effort(lambda: client.log_metric(run_id, "a", 1))
    command = rf"mlflow runs restore --run-id {run_id}`; then run `python -m darkroom track`"
    assert re.search(rf"the run {run_id} was deleted in MLflow: restore it with `.*{command}", capsys.readouterr().out)
    client.delete_experiment(own_store)
    assert not best_effort(lambda: client.create_run(own_store))
    assert f"the experiment {own_store} was deleted in MLflow: restore it with `" in capsys.readouterr().out


def test_a_full_disk_and_a_missing_permission_are_told_apart_from_a_store_that_is_away(workspace, capsys):
    for number, sentence in ((errno.ENOSPC, "there is no space left on the disk"), (errno.EACCES, "no permission for")):

        def write(number=number):
            raise OSError(number, os.strerror(number), "mlartifacts/x")

        assert not best_effort(write)
        assert sentence in capsys.readouterr().out


def test_a_rejected_name_is_a_sentence(own_store, capsys):
    """Params are encoded (see test_names): this is for what comes after."""
    with (
        pytest.raises(UserError, match=r"^the MLflow store sqlite:.* refuses the request \(.*bad,name"),
        readable_errors(),
    ):
        mlflow.MlflowClient().log_metric(mlflow.MlflowClient().create_run(own_store).info.run_id, "bad,name", 1)


def test_the_own_database_is_the_same_store_however_it_is_addressed(workspace, monkeypatch):
    """So that artifacts stay beside it."""
    new_store(workspace / "mlflow.db")
    for uri in ("sqlite:///mlflow.db", f"sqlite:///{workspace}/mlflow.db", ""):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert address.tracking_uri() == f"sqlite:///{workspace}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    assert not address.is_own()
