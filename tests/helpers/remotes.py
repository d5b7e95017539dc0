"""Places that data is shared through, as real servers on this machine: an SSH server, and one with the API of S3."""

import contextlib
import logging
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SECRET = "this-is-no-real-key"
SSHD = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/own.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
ForceCommand internal-sftp
"""


@contextlib.contextmanager
def ssh_server() -> Iterator[tuple[str, dict[str, str]]]:
    """Debian's sshd with keys of its own: a DVC remote's address in it, and what DVC must know to get in.

    It serves files only, as an ordinary user: the one that runs the tests, or daemon where that is root (nobody is a
    locked account where systemd names the users).
    """
    user = pwd.getpwuid(os.getuid()).pw_name if os.getuid() else "daemon"
    folder = Path(tempfile.mkdtemp(prefix="darkroom-sshd-"))  # pytest's own folders are closed to other users
    try:
        for name in ("host", "own"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        port = free_port()
        (folder / "config").write_text(SSHD.format(port=port, folder=folder))
        (folder / "data").mkdir()
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, user)
        command = [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "config")]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(command, stderr=log, **({} if os.getuid() else as_user(user)))
        try:
            wait_for(port, server, folder / "log")
            yield f"ssh://{user}@127.0.0.1:{port}{folder}/data", {"keyfile": str(folder / "own")}
        finally:
            server.terminate()
            server.wait()
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def s3_server() -> Iterator[tuple[str, dict[str, str]]]:
    """Moto's server, which has the API of S3: a DVC remote's address in it, and what DVC must know to get in."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        keys = {"aws_access_key_id": "tests", "aws_secret_access_key": SECRET}
        boto3.client("s3", endpoint_url=address, region_name="us-east-1", **keys).create_bucket(Bucket="darkroom")
        known = {"endpointurl": address, "access_key_id": "tests", "secret_access_key": SECRET, "region": "us-east-1"}
        yield "s3://darkroom/data", known
    finally:
        server.stop()


def as_user(name: str) -> dict[str, object]:
    """How `Popen` starts a program as another user."""
    found = pwd.getpwnam(name)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server listens."""
    for _ in range(100):
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError(log.read_text())
