"""Downloads from a real server on this machine that fails in every way that servers and connections fail."""

import contextlib
import gzip
import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from darkroom.core.errors import UserError
from darkroom.download import http
from darkroom.download.http import fetch
from tests.helpers.failing_server import Server
from tests.helpers.project import ROOT

CONTENT = random.Random(1).randbytes(10_500)
OTHER = random.Random(2).randbytes(11_700)
FETCH = "import sys; from darkroom.download.http import fetch; print(fetch(sys.argv[1], None))"


def sha(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def server():
    with Server(CONTENT) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.released.set()
        running.shutdown()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The cache is in an empty folder; blocks are small and there are no pauses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(http, "FIRST_PAUSE", 0)
    monkeypatch.setattr(http, "BLOCK", 1)
    return tmp_path


KEPT = ["pictures.zip", "pictures.zip.sha256"]


def files(folder):
    return sorted(path.name for path in (folder / ".cache").rglob("*") if path.is_file())


@pytest.mark.parametrize("digest", [None, sha(CONTENT)])
def test_a_file_is_fetched_once(digest, server, here, capsys):
    path = fetch(server.url, digest)
    assert (path.name, path.read_bytes()) == ("pictures.zip", CONTENT)
    assert path.resolve().is_relative_to(here / ".cache")
    assert fetch(server.url, digest) == path
    assert (len(server.seen), files(here)) == (1, KEPT)
    assert f"{server.url} is already in" in capsys.readouterr().out


def test_files_of_one_name_from_two_addresses_are_two_files(server):
    first = fetch(f"{server.base}/a/x.zip", None)
    server.content = OTHER
    second = fetch(f"{server.base}/b/x.zip", None)
    assert (first.read_bytes(), second.read_bytes()) == (CONTENT, OTHER)


def test_an_empty_file_is_a_file(server):
    server.content = b""
    assert fetch(server.url, None).read_bytes() == b""


@pytest.mark.parametrize("stop", [1000, 4000, 10_000])
def test_an_interrupted_download_resumes_where_it_stopped(stop, server, here):
    server.plan = [{"stop": stop}]
    assert fetch(server.url, sha(CONTENT)).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={stop}-"]
    assert server.seen[1]["If-Range"] == '"1"'
    assert sum(server.sent) == len(CONTENT)
    assert files(here) == KEPT


def test_no_more_than_a_block_is_sent_again(server):
    server.plan = [{"stop": 4567}, {"stop": 2345}]
    assert fetch(server.url, None).read_bytes() == CONTENT
    assert sum(server.sent) <= len(CONTENT) + 2 * 1000
    assert 3567 <= int(server.ranges()[1][6:-1]) <= 4567


def test_a_connection_that_ends_before_the_first_byte_is_retried(server):
    server.plan = [{"stop": 0}] * 3
    assert fetch(server.url, None).read_bytes() == CONTENT
    assert server.ranges() == [None] * 4


def test_a_full_disk_is_named_and_not_retried(server, here):
    partial = http.paths.cache() / "downloads" / sha(server.url.encode())[:16] / ".pictures.zip.partial"
    partial.parent.mkdir(parents=True)
    partial.symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"pictures\.zip cannot be downloaded: there is no space left on the disk"):
        fetch(server.url, None)
    assert len(server.seen) == 1


def test_a_silent_server_is_retried(server, monkeypatch):
    monkeypatch.setattr(http, "TIMEOUT", 0.1)
    server.plan = [{"stop": 4000, "stall": True}]
    assert fetch(server.url, None).read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=3072-"]  # whole blocks only


def test_a_server_without_ranges_sends_all_again(server):
    server.plan = [{"stop": 4000}, {"ignore_range": True}]
    assert fetch(server.url, sha(CONTENT)).read_bytes() == CONTENT
    assert server.sent == [4000, len(CONTENT)]


def test_an_answer_with_another_range_is_not_used(server):
    server.plan = [{"stop": 4000}, {"wrong_range": 500}]
    assert fetch(server.url, None).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_a_busy_server_is_retried(status, server):
    server.plan = [{"status": status}, {"stop": 4000}, {"status": status}]
    assert fetch(server.url, None).read_bytes() == CONTENT
    assert server.ranges() == [None, None, "bytes=4000-", "bytes=4000-"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_server_that_refuses_is_asked_once(status, server, here):
    server.plan = [{"status": status}]
    with pytest.raises(UserError, match=rf"{server.url} cannot be downloaded: the server answered {status} .*url"):
        fetch(server.url, None)
    assert len(server.seen) == 1
    assert files(here) == []
    assert fetch(server.url, None).read_bytes() == CONTENT  # when it is there again


def test_it_gives_up_after_some_attempts_and_keeps_what_it_has(server, here):
    server.plan = [{"stop": 4000}, *[{"stop": 0}] * 20]
    with pytest.raises(UserError, match="cannot be downloaded"):
        fetch(server.url, None)
    assert len(server.seen) == http.ATTEMPTS
    assert "pictures.zip" not in files(here)
    server.plan = []
    assert fetch(server.url, None).read_bytes() == CONTENT
    assert sum(server.sent) == len(CONTENT)


def test_a_missing_server_is_reported(here):
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x.zip"
    with pytest.raises(
        UserError, match=rf"{url} cannot be downloaded: no connection .* Check download.url and the net"
    ):
        fetch(url, None)
    assert files(here) == []


def test_the_wrong_file_is_deleted_and_the_right_one_taken(server, here):
    with pytest.raises(UserError, match=f"{sha(CONTENT)}.*{sha(OTHER)}"):
        fetch(server.url, sha(OTHER))
    assert not any(name.endswith((".zip", ".partial")) for name in files(here))
    server.content = OTHER
    assert fetch(server.url, sha(OTHER)).read_bytes() == OTHER
    assert server.ranges() == [None, None]


DAMAGE = {
    "cut off": lambda path: path.write_bytes(CONTENT[:-1]),
    "one bit": lambda path: path.write_bytes(bytes([CONTENT[0] ^ 1]) + CONTENT[1:]),
    "empty": lambda path: path.write_bytes(b""),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a damaged record": lambda path: path.with_name("pictures.zip.sha256").write_bytes(b"\xff"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("digest", [None, sha(CONTENT)])
def test_a_damaged_file_in_the_cache_is_fetched_again(digest, damage, server, capsys):
    path = fetch(server.url, digest)
    DAMAGE[damage](path)
    assert fetch(server.url, digest).read_bytes() == CONTENT
    assert f"{path} is damaged or another file" in capsys.readouterr().out
    assert fetch(server.url, digest).read_bytes() == CONTENT
    assert len(server.seen) == 2


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"a\nb: c", b"other"])
def test_a_damaged_validator_makes_no_mixture(content, server, here):
    path = fetch(server.url, None)
    assert path.read_bytes() == CONTENT
    partial = path.with_name(".pictures.zip.partial")
    path.rename(partial)
    partial.write_bytes(CONTENT[:100])
    partial.with_name(f"{partial.name}.validator").write_bytes(content)
    assert fetch(server.url, sha(CONTENT)).read_bytes() == CONTENT


@pytest.mark.parametrize("validator", ["etag", "date", "weak"])
def test_a_file_that_is_replaced_meanwhile_does_not_become_a_mixture(validator, server):
    server.dated, server.weak = validator == "date", validator == "weak"
    server.plan = [{"stop": 4000}, {"replace": OTHER}]
    with contextlib.suppress(UserError):  # a weak one cannot be sent back, so the digest may be the first to differ
        fetch(server.url, sha(OTHER))
    assert fetch(server.url, sha(OTHER)).read_bytes() == OTHER


def test_a_replaced_file_is_noticed_if_the_server_ignores_if_range(server):
    server.plan = [{"stop": 4000}, {"replace": OTHER, "ignore_if_range": True}]
    assert fetch(server.url, None).read_bytes() == OTHER


def test_a_replaced_file_that_is_interrupted_resumes_as_the_new_one(server):
    server.plan = [{"stop": 4000}, {"replace": OTHER, "stop": 6000}]
    assert fetch(server.url, None).read_bytes() == OTHER
    assert [headers.get("If-Range") for headers in server.seen] == [None, '"1"', '"2"']
    assert server.ranges() == [None, "bytes=4000-", "bytes=6000-"]


def back_to_partial(path, data):
    """As if the process had been killed just before the file took its name."""
    path.unlink()
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    partial.with_name(f"{partial.name}.validator").write_text('"1"')


def test_a_complete_file_that_was_not_renamed_is_not_sent_again(server, here):
    back_to_partial(fetch(server.url, None), CONTENT)
    assert fetch(server.url, sha(CONTENT)).read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={len(CONTENT)}-"]
    assert server.sent == [len(CONTENT), 0]
    assert files(here) == KEPT


def test_more_bytes_than_the_server_has_are_discarded(server):
    back_to_partial(fetch(server.url, None), CONTENT + b"more")
    assert fetch(server.url, None).read_bytes() == CONTENT


def test_a_file_without_a_length_is_fetched(server):
    server.plan = [{"chunked": True}]
    assert fetch(server.url, None).read_bytes() == CONTENT


def test_an_interrupted_file_without_a_length_is_completed(server):
    server.plan = [{"chunked": True, "stop": 4000}]
    assert fetch(server.url, None).read_bytes() == CONTENT
    assert len(server.seen) == 2


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_a_compressed_archive_stays_compressed(encoding, server):
    """Web servers call .tar.gz a compressed .tar, although nobody asked for compression."""
    server.content = gzip.compress(CONTENT)
    server.plan = [{"encoding": encoding}] * 10
    assert fetch(f"{server.base}/x.tar.gz", sha(server.content)).read_bytes() == server.content


def test_redirections_are_followed(server):
    server.plan = [{"status": 302}]
    path = fetch(server.url, None)
    assert (path.name, path.read_bytes()) == ("pictures.zip", CONTENT)
    assert server.paths == ["/set/pictures.zip", "/again"]


@pytest.mark.parametrize(
    "tail",
    [
        "",
        "/",
        "/set/",
        "/%2e%2e",
        "/set/..",
        "/a%2Fb.zip",
        "/..%2F..%2Fx.zip",
        "/x%00.zip",
        "/x%0A.zip",
        "/%C3%9Cn%C3%AF%20c.zip",
        "/caf%E9.zip",
        "/x.zip?token=1/2#3",
        "/get.php?file=x.zip",
        f"/{'x' * 300}.zip",
    ],
)
def test_whatever_the_address_ends_with_the_file_is_in_the_cache(tail, server, here):
    path = fetch(server.base + tail, None)
    assert path.is_file()
    assert path.read_bytes() == CONTENT
    assert path.resolve().is_relative_to((here / ".cache/downloads").resolve())
    assert fetch(server.base + tail, None) == path
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/x.zip",
        "file:///etc/passwd",
        "s3://bucket/x.zip",
        "data:text/plain,hello",
        "nonsense",
        "/data/x.zip",
        "C:\\x.zip",
        "",
        "http://",
        "http:///x.zip",
        "http://[::1/x.zip",
        "http://127.0.0.1:port/x.zip",
        "http://127.0.0.1:99999/x.zip",
        f"http://{'a' * 70}.invalid/x.zip",
        "http://*.invalid/x.zip",
    ],
)
def test_a_malformed_address_is_reported_in_a_sentence(url, here):
    with pytest.raises(UserError, match=r"download\.url") as caught:
        fetch(url, None)
    assert "\n" not in str(caught.value)
    assert files(here) == []


def test_a_killed_download_resumes_in_the_next_process(server, here):
    server.content = random.Random(3).randbytes(3 * 2**20)
    server.plan = [{"stop": 2**20 + 2**19, "stall": True}]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", FETCH, server.url]
    with subprocess.Popen(command, cwd=here, env=environment, stdout=subprocess.DEVNULL) as first:
        until = time.monotonic() + 60
        while not any(path.stat().st_size >= 2**20 for path in here.rglob(".pictures.zip.partial")):
            assert first.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL)
    assert first.returncode == -signal.SIGKILL
    assert "pictures.zip" not in files(here)
    second = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=True)
    path = here / second.stdout.splitlines()[-1]
    assert sha(path.read_bytes()) == sha(server.content)
    start = int(server.ranges()[1][6:-1])
    assert 2**20 <= start <= 2**20 + 2**19
    assert server.sent[-1] == len(server.content) - start
    assert files(here) == KEPT
