"""Commands run by an ordinary user, whom permissions hold back: root itself may do everything."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

USER = "nobody"
# The interpreter may be in root's closed home: within the command's own view of the file system, that home is open
# and holds nothing else.
OPENED = """set -e
mount --bind {prefix} /mnt
mount -t tmpfs -o mode=755 tmpfs {closed}
mkdir -p {prefix}
mount --move /mnt {prefix}
exec "$@"
"""


def as_ordinary_user(command: Sequence[str]) -> list[str]:
    """Return the command that runs `command` as an ordinary user: as it is, if this one is not root."""
    if os.getuid():
        return list(command)
    account = pwd.getpwnam(USER)
    lowered = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", *command]
    prefix = Path(sys.base_prefix)
    closed = [folder for folder in reversed(prefix.parents) if not folder.stat().st_mode & stat.S_IXOTH]
    if not closed:
        return lowered
    script = OPENED.format(prefix=prefix, closed=closed[0])
    return ["unshare", "--mount", "bash", "-c", script, "bash", *lowered]


@contextmanager
def owned_copy(project: Path) -> Iterator[Path]:
    """A copy of a project that belongs to that user, at a place that is open to all; with a home beside it."""
    place = Path(tempfile.mkdtemp(prefix="darkroom-"))
    place.chmod(0o755)
    try:
        shutil.copytree(project, place / "darkroom", symlinks=True)
        (place / "home").mkdir()
        give(place)
        yield place / "darkroom"
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", str(place)], check=False)
        shutil.rmtree(place)


def give(folder: Path, user: str = USER) -> None:
    """Make a user the owner of everything below a folder."""
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", f"{user}:", str(folder)], check=True)


def run_as_user(command: Sequence[str], project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a project as an ordinary user."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "HOME": str(project.parent / "home"), **environment}
    return subprocess.run(
        as_ordinary_user(command), cwd=project, env=variables, capture_output=True, text=True, check=False
    )
