"""Trainings in processes that can be killed, forked from one that has imported TensorFlow, so that it is paid once."""

import os
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.helpers.processes import forking

PRELOAD = "tests.helpers.trainings_preload"


def start(folder: Path, log: Path) -> BaseProcess:
    """Start `python -m stages.train` in a folder, in a process group of its own; it prints to a file."""
    process = forking([PRELOAD]).Process(target=_train, args=(folder, log))
    process.start()
    return process


def finish(process: BaseProcess, log: Path, epochs: int, delay: float) -> tuple[str, bool, list[float]]:
    """Wait for a training; after that many of its epochs began (0: never), and a delay, kill it and its children.

    Returns:
        Its output; whether it was killed before its end; and when each epoch began.
    """
    starts: list[float] = []
    while process.is_alive():
        begun = log.read_text().count("\nEpoch ") if log.exists() else 0
        starts += [time.monotonic()] * (begun - len(starts))
        if epochs and begun >= epochs:
            time.sleep(delay)
            if process.is_alive():
                os.killpg(process.pid, signal.SIGKILL)
            break
        process.join(0.01)
    process.join(120)
    return log.read_text(), process.exitcode == -signal.SIGKILL, starts


def _train(folder: Path, log: Path) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # this project has its own store
    descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", 1), os.fdopen(2, "w", 1)
    sys.argv = ["train"]
    from darkroom.pipeline.script import run
    from stages import train

    run("train", train.main)
