"""DVC remotes as real servers on this machine: an SSH server, and one with the API of S3."""

import contextlib
import logging
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.servers import free_port, wait

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
    """Debian's sshd with its own keys: the address of a DVC remote on it, and the settings by which DVC gets in.

    It serves only files, as an ordinary user: the one that runs the tests, or daemon if that is root (systemd locks the
    account nobody).
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
            wait(server, folder / "log", lambda: listens(port))
            yield f"ssh://{user}@127.0.0.1:{port}{folder}/data", {"keyfile": str(folder / "own")}
        finally:
            server.terminate()
            server.wait()
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def s3_server() -> Iterator[tuple[str, dict[str, str]]]:
    """Moto's server, with the API of S3: the address of a DVC remote on it, and the settings by which DVC gets in."""
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
        settings = {
            "endpointurl": address,
            "access_key_id": "tests",
            "secret_access_key": SECRET,
            "region": "us-east-1",
        }
        yield "s3://darkroom/data", settings
    finally:
        server.stop()


def as_user(name: str) -> dict[str, object]:
    """Return the arguments with which `Popen` starts a program as another user."""
    user = pwd.getpwnam(name)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def listens(port: str) -> bool:
    """Return whether a server listens on a port of this machine."""
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", int(port)), 1):
        return True
    return False
