"""Where runs are recorded, and the errors of stores."""

import http.server
import socket
import threading

import mlflow
import pytest

from darkroom.core.errors import UserError
from darkroom.tracking.store import best_effort, connect, one_line


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


def test_a_store_that_goes_away_costs_no_work(capsys):
    def gone():
        raise ConnectionError("connection to http://ada:geheim@host\nrefused")

    assert best_effort(gone) is False
    line = "MLflow: not written (connection to http://host refused); to write it later, run `python -m darkroom track`."
    assert capsys.readouterr().out == f"{line}\n"
    assert one_line(ValueError("x" * 500)) == "x" * 200
