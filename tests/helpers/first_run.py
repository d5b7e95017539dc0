"""The small project's first run, in the current folder: `python -m tests.helpers.first_run`.

The stages run in processes forked from one that has imported everything. `export` has its own, as under DVC: a
SavedModel holds the numbers that TensorFlow gives to functions in a process.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mlflow  # noqa: F401
from dvc.repo import Repo

from darkroom.core import runtime
from darkroom.pipeline.params import STAGES
from tests.helpers.stages import run_stages
from tests.helpers.stores import new_store


def main() -> None:
    """Run all stages, and have DVC keep their outputs."""
    runtime.import_tensorflow()
    new_store(Path("mlflow.db"))
    forked(run_stages, STAGES[:4])
    forked(commit, STAGES[:4])  # runs in MLflow name the data's MD5s, which are in dvc.lock
    forked(run_stages, ["train", "evaluate"])
    forked(run_stages, ["export"])
    forked(commit, STAGES[4:])


def forked(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function in a process forked from this one."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0


def commit(stages: Sequence[str]) -> None:
    """Do what `dvc commit -f STAGE...` does."""
    with Repo() as repository:
        for stage in stages:
            repository.commit(stage, force=True)


if __name__ == "__main__":
    main()
