"""Ray clusters of several nodes on this machine, each with one CPU."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

# Ray reads these when it is imported.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
# Ray's program, but a node at 127.0.0.1 listens there and nowhere else.
RAY = """
from unittest import mock
mock.patch("ray._private.services.resolve_ip_for_localhost", lambda host: host).start()
from ray.scripts.scripts import main
main()
"""
SECONDS = 120


class Node:
    """A node: the session of `ray start --block`."""

    def __init__(self, log: Path, *arguments: str) -> None:
        command = [sys.executable, "-c", RAY, "start", "--block", "--num-cpus=1", "--node-ip-address=127.0.0.1"]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [*command, "--disable-usage-stats", *arguments],
                env={**os.environ, "RAY_TMPDIR": str(log.parent)}, stdout=stream, stderr=stream, start_new_session=True,
            )  # fmt: skip

    def processes(self) -> list[psutil.Process]:
        """All of its processes."""
        return [process for process in psutil.process_iter() if _session(process.pid) == self.process.pid]

    def send(self, number: int) -> None:
        """Send a signal to all of its processes."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def kill_a_worker(self) -> None:
        """Kill a process that computes, once there is one."""
        while not (found := [process for process in self.processes() if process.name().startswith("ray::run")]):
            time.sleep(0.02)
        found[0].kill()


def _session(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid)
    return 0


class Cluster:
    """A head node, and others that join it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.nodes = [Node(folder / "head.log", "--head", f"--port={port}", "--include-dashboard=false")]
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.1)
        raise AssertionError((folder / "head.log").read_text())

    def add(self) -> Node:
        """Let another node join, and wait until it has."""
        log = self.folder / f"node{len(self.nodes)}.log"
        self.nodes.append(Node(log, f"--address={self.address}"))
        end = time.monotonic() + SECONDS
        while "Ray runtime started" not in log.read_text():
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        return self.nodes[-1]


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster of one node."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # a short path, for the names of sockets
    made = Cluster(folder)
    try:
        yield made
    finally:
        for node in made.nodes:
            node.send(signal.SIGKILL)
            node.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def short_temporary_folder() -> Iterator[None]:
    """Let temporary files lie in /tmp, whatever the tests use: names of sockets are short."""
    before, tempfile.tempdir = tempfile.tempdir, tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    try:
        yield
    finally:
        shutil.rmtree(tempfile.tempdir, ignore_errors=True)
        tempfile.tempdir = before
