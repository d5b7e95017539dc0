"""Commands that are killed with all their children, and what such a kill must not change or leave behind."""

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.helpers.project import copy_project

OUTPUTS = ("data/raw", "data/split", "data/augmented", "data/features", "models", "exports", "reports", "recipes")
SECONDS = 600  # after which a command hangs


class Finished(NamedTuple):
    """A command that has ended."""

    code: int
    output: str
    seconds: float


class Workplace:
    """A project in which a command is run again and again, each time from the same state and at the same path."""

    def __init__(self, folder: Path, spare: Path, command: Sequence[str]) -> None:
        """Remember a project's state.

        Args:
            folder: the project.
            spare: a folder outside it that does not exist yet.
            command: `python` is this interpreter.
        """
        self.folder, self.command, self.before = folder, list(command), spare / "before"
        self.temporary, self.log = spare / "tmp", spare / "log"
        copy_project(folder, self.before)
        self.temporary.mkdir()

    def restore(self) -> None:
        """Bring back the remembered state."""
        shutil.rmtree(self.folder)
        copy_project(self.before, self.folder)
        shutil.rmtree(self.temporary)
        self.temporary.mkdir()

    def run(self, kill_after: float | None = None, command: Sequence[str] | None = None) -> Finished:
        """Run the command, and kill its process group after so many seconds if it has not ended by then."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        started = time.monotonic()
        with self.log.open("w") as log:
            process = subprocess.Popen(
                command or self.command,
                cwd=self.folder,
                env={**os.environ, "PATH": path, "TMPDIR": str(self.temporary), "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(SECONDS if kill_after is None else kill_after)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return Finished(process.returncode, self.log.read_text(errors="replace"), time.monotonic() - started)


def campaign(place: Workplace, kills: int, seed: int, again: Sequence[str] | None = None, ended: str = "") -> str:
    """Run a command undisturbed; then kill it at random moments spread over that time, and each time run it again.

    Args:
        place: where, and which command.
        kills: how many; the moments are drawn, one from each of as many equal parts of the command's time.
        seed: of the moments.
        again: the command after a kill, if it is another one.
        ended: what the command says, with exit code 1, where it was killed after all was done.

    Returns:
        A line for the table of results.

    Raises:
        AssertionError: the command did not end well after a kill, its outputs differ from those of the undisturbed run,
            or something was left behind.
    """
    name = " ".join(place.command)
    first = place.run()
    assert first.code == 0, f"{name}:\n{first.output}"
    expected, usual = outputs(place.folder), leftovers(place)
    moments, faults = random.Random(seed), []
    for number in range(kills):
        moment = first.seconds * (number + moments.random()) / kills
        place.restore()
        while (broken := place.run(moment)).code != -signal.SIGKILL:  # it was faster this time
            moment *= 0.9
            place.restore()
        done = place.run(command=again)
        problems = differences(expected, outputs(place.folder)) + [
            entry for entry in leftovers(place) if entry not in usual
        ]
        if problems or (done.code and not (ended and ended in done.output)):
            faults.append(
                f"killed after {moment:.2f} s: exit code {done.code}; {problems}\n{broken.output[-1500:]}\n--- again:\n"
                f"{done.output[-3000:]}"
            )
    line = f"{name}: {kills} kills within {first.seconds:.1f} s, seed {seed}, {len(faults)} faults"
    print(line, *faults, sep="\n", flush=True)
    assert not faults, line
    return line


def outputs(folder: Path) -> dict[str, bytes]:
    """Every file that a stage or a command writes as a result, by path."""
    files = [path for name in OUTPUTS for path in (folder / name).rglob("*") if path.is_file()]
    names = ("dvc.lock", "params.yaml")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in [*files, *(folder / name for name in names)]
        if path.is_file() and not path.name.endswith(".partial")
    }


def differences(expected: Mapping[str, bytes], found: Mapping[str, bytes]) -> list[str]:
    """The names of files that are in one of both only, or differ."""
    return sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))


def leftovers(place: Workplace) -> list[str]:
    """What a process may leave behind: files half written, locks, temporary files, processes, runs that never end."""
    folder = place.folder
    result = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.name.endswith((".partial", ".tmp")) and path.relative_to(folder).parts[0] != ".git"
    ]
    result += [f"TMPDIR/{path.name}" for path in place.temporary.iterdir()]
    for lock in (folder / ".dvc/tmp").glob("rwlock"):
        result += [f"rwlock: {entry}" for entry in json.loads(lock.read_text() or "{}").values() if entry]
    result += [f"process {process.pid}: {' '.join(process.cmdline())}" for process in processes(folder)]
    if (folder / "mlflow.db").exists():
        with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as store:
            query = "SELECT name FROM runs WHERE status = 'RUNNING' AND lifecycle_stage = 'active'"
            result += [f"run {name} is RUNNING" for (name,) in store.execute(query)]
    return result


def processes(folder: Path) -> list[psutil.Process]:
    """The processes that work in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
