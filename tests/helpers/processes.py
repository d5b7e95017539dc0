"""Several processes that do the same at the same moment, without paying for the same imports several times."""

import contextlib
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from tests.helpers.project import ROOT, copy_project, without

IMPORTS = ["mlflow", "pandas", "darkroom.tracking.live_run", "darkroom.tracking.pipeline_log"]


def forking(preload: Sequence[str]) -> ForkServerContext:
    """Return a context whose processes are forked from one that has imported this project's modules.

    The first call of a pytest process decides which: there is one such process.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    with contextlib.chdir(ROOT):  # it would import another copy of the project from the folder in which a test works
        forkserver.ensure_running()
    return context


def together(
    work: Callable[..., None], calls: Sequence[tuple[Path, tuple[Any, ...]]], environment: Mapping[str, str] = {}
) -> list[str]:
    """Call `work` with each of the arguments in a process of its own, in the folder beside them, all at once.

    Returns:
        What each wrote to stdout and stderr; an exception is a failure.
    """
    context = forking(IMPORTS)
    barrier = context.Barrier(len(calls))
    logs = [folder / "process.log" for folder, _ in calls]
    processes = [
        context.Process(target=_call, args=(work, arguments, folder, dict(environment), barrier))
        for folder, arguments in calls
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    output = [log.read_text() for log in logs]
    assert [process.exitcode for process in processes] == [0] * len(calls), "\n".join(output)
    return output


def queued(project: Path, count: int) -> list[Path]:
    """Copy a project into workspaces as DVC's queue makes them, which share its cache and its MLflow store."""
    folders = [project / f".dvc/tmp/exps/standalone/{number}" for number in range(count)]
    for folder in folders:
        copy_project(project, folder, without(project, ".dvc", ".git", "exports", "mlflow.db"))
    return folders


def _call(
    work: Callable[..., None], arguments: tuple[Any, ...], folder: Path, environment: dict[str, str], barrier: Barrier
) -> None:
    os.chdir(folder)
    os.environ |= environment
    with Path("process.log").open("w") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        try:
            barrier.wait(120)
            work(*arguments)
        except BaseException:
            traceback.print_exc()
            log.flush()
            sys.exit(1)
