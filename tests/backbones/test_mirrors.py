import gzip
import http.server
import socket
import threading
import time

import pytest

from darkroom.core.errors import UserError
from darkroom.download import tfds_mirror


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
    assert tfds_mirror.reachable(f"{server}/")
    assert not tfds_mirror.reachable(f"{server}/forbidden")


def test_a_server_that_is_silent_is_given_up_soon():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        assert not tfds_mirror.reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/", seconds=0.5)
        assert time.monotonic() - started < 5


def test_the_gzip_header_gets_its_name_back():
    data = gzip.compress(b"pictures", mtime=0)
    named = tfds_mirror._with_gzip_name(data, "train-images-idx3-ubyte", 1504176606)
    assert gzip.decompress(named) == b"pictures"
    assert named[:10].hex() == "1f8b0808" + (1504176606).to_bytes(4, "little").hex() + "0003"
    assert named[10:34] == b"train-images-idx3-ubyte\x00"


def test_a_set_without_a_mirror_is_named(tmp_path):
    with pytest.raises(UserError, match="data set cats_vs_dogs cannot be reached and no mirror carries it"):
        tfds_mirror.tfds_files("cats_vs_dogs", tmp_path)


def test_damaged_weights_are_fetched_again(tmp_path):
    kept = tmp_path / "vgg16_imagenet_notop.npz"
    tfds_mirror.vgg16_arrays(tmp_path)
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    tfds_mirror.vgg16_arrays(tmp_path)
    assert kept.read_bytes() == whole
