import http.server
import socket
import threading
import time

import pytest

from darkroom.core.network import reachable


@pytest.fixture
def server():
    """A web server on loopback that answers HEAD / with 200 and everything else with 403."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200 if self.path == "/" else 403)
            self.end_headers()

        def log_message(self, *args):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()


def test_a_server_that_answers_is_reachable(server):
    assert reachable(f"{server}/")
    assert not reachable(f"{server}/forbidden")


def test_a_silent_server_is_soon_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        assert not reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/", seconds=0.2)
        assert time.monotonic() - started < 5
