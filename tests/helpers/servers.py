"""Real servers for tests: PostgreSQL, and MLflow with users, started by the documents' own commands."""

import contextlib
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.helpers.documents import block
from tests.helpers.project import ROOT, run

SECONDS_TO_START = 120
MEMBER, SECRET = "ada", "ada has a secret"  # in docs/server.md


def free_port() -> str:
    """Return a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@contextlib.contextmanager
def postgres() -> Iterator[dict[str, str]]:
    """PostgreSQL on a free port: the variables by which clients find it; PGHOST is for its owner only."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    folder = Path(tempfile.mkdtemp(prefix="darkroom-postgres-"))
    ordinary: dict[str, Any] = {}
    if os.getuid() == 0:  # as which PostgreSQL refuses to run
        ordinary = {"user": "postgres", "group": "postgres"}
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, pwd.getpwnam("postgres").pw_gid)
    # Only the owner can reach the socket, so that it needs no password; the network does.
    rules = ("-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync")
    subprocess.run(
        (programs / "initdb", "-D", folder / "data", *rules), cwd=folder, check=True, capture_output=True, **ordinary
    )
    port = free_port()
    options = ("-p", port, "-k", folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
    with (folder / "log").open("w") as log:
        command = (programs / "postgres", "-D", folder / "data", *options)
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **ordinary)
    try:
        ready = (programs / "pg_isready", "-h", folder, "-p", port)
        wait(server, folder / "log", lambda: subprocess.run(ready, capture_output=True).returncode == 0)
        yield {"PGPORT": port, "PGHOST": str(folder)}
    finally:
        server.send_signal(signal.SIGINT)  # its fast shutdown
        server.wait(30)
        shutil.rmtree(folder)


def answers(port: str, path: str = "/") -> bool:
    """Return whether a page answers."""
    try:
        return requests.get(f"http://127.0.0.1:{port}{path}", timeout=5).ok
    except requests.RequestException:
        return False


def wait(process: subprocess.Popen, log: Path | None, ready: Callable[[], Any]) -> None:
    """Wait until `ready()` is true; if the process ends before, fail with its log."""
    until = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until:
        assert process.poll() is None, log and log.read_text()
        if ready():
            return
        time.sleep(0.1)
    pytest.fail(f"no answer after {SECONDS_TO_START} s: {log and log.read_text()}")


class Team:
    """A team's MLflow server, set up as in docs/server.md in its own folder; it can be stopped and started again."""

    def __init__(self, folder: Path, database: dict[str, str]) -> None:
        self.folder, self.port, self.server = folder, free_port(), None
        self.uri = f"http://localhost:{self.port}"  # it answers to no other name
        self.database = database
        shutil.copy(ROOT / "server.ini", folder)
        self.command("openssl", "sudo apt install postgresql", ":", ".venv/bin/pip", ":")
        self.command("CREATE DATABASE", "sudo -u postgres psql", f"psql -h {database['PGHOST']} -U postgres")

    def command(self, part: str, *changes: str) -> None:
        """Run a block of commands; `changes` are pairs of a text and its replacement."""
        run("bash", "-ec", self._changed(part, changes), cwd=self.folder, PGPORT=self.database["PGPORT"])

    def _changed(self, part: str, changes: tuple[str, ...] = ()) -> str:
        text = block(part)
        here = (
            "0.0.0.0",
            "127.0.0.1",
            "--port 5000",
            f"--port {self.port} --workers 2",
            ":5000",
            f":{self.port}",
            "/srv/mlflow",
            str(self.folder / "files"),
        )
        for old, new in zip((*here, *changes)[::2], (*here, *changes)[1::2], strict=True):
            text = text.replace(old, new)
        return text

    def start(self) -> None:
        """Start the server and wait until it answers."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with (self.folder / "log").open("a") as log:
            self.server = subprocess.Popen(
                ["bash", "-c", self._changed("--app-name").replace("mlflow server", "exec mlflow server")],
                cwd=self.folder,
                env=os.environ
                | {"PATH": path, "PGPORT": self.database["PGPORT"], "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
            )
        wait(self.server, self.folder / "log", lambda: answers(self.port, "/health"))

    def stop(self) -> None:
        """Stop the server, as when its machine shuts down."""
        self.server.terminate()
        self.server.wait(60)

    def admin(self) -> tuple[str, str]:
        """Return the name and the password of the administrator."""
        return "admin", re.search(r"ADMIN_PASSWORD=(\w+)", (self.folder / "server.env").read_text())[1]

    def user(self, name: str, password: str) -> None:
        """Add a user."""
        body = {"username": name, "password": password}
        requests.post(
            f"{self.uri}/api/2.0/mlflow/users/create", json=body, auth=self.admin(), timeout=30
        ).raise_for_status()

    def grant(self, name: str, kind: str, which: str, permission: str) -> None:
        """Set what a user may do with resources of a kind."""
        body = {"username": name, "resource_type": kind, "resource_id": which, "permission": permission}
        requests.post(
            f"{self.uri}/api/3.0/mlflow/users/permissions/grant", json=body, auth=self.admin(), timeout=30
        ).raise_for_status()

    def variables(self, name: str = MEMBER, password: str = SECRET) -> dict[str, str]:
        """Return the variables that a member of the team sets, by docs/server.md."""
        text = block("export MLFLOW_TRACKING_URI")
        for old, new in (("http://mlflow.example.org:5000", self.uri), (SECRET, password), (MEMBER, name)):
            text = text.replace(old, new)
        return dict(word.split("=", 1) for word in shlex.split(text) if "=" in word)


@contextlib.contextmanager
def team() -> Iterator[Team]:
    """A team's server with one member, and PostgreSQL behind it."""
    with tempfile.TemporaryDirectory(prefix="darkroom-team-") as folder, postgres() as database:
        server = Team(Path(folder), database)
        try:
            server.start()
            server.command("users/create")
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def page_of_mlflow(folder: Path) -> Iterator[str]:
    """The address of a real `mlflow ui` on a project's store."""
    port, log = free_port(), folder / "ui.log"
    program = (sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}")
    with log.open("w") as stream:
        server = subprocess.Popen(
            (*program, "--port", port, "--workers", "1"),
            cwd=folder,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        wait(server, log, lambda: answers(port, "/health"))
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        log.unlink()
