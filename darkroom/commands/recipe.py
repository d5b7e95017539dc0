"""Run a recipe, a known-good experiment, as the DVC experiment of its name; without a name, list the recipes.

The recipe goes on top of params.yaml as it stands, so that the settings which are yours alone (where your pictures lie,
which formats you export) remain. Settings KEY=VALUE, with VALUE in YAML, go on top of the recipe. After a run that
failed or was killed, the same command resumes it.

Reads   recipes/NAME.yaml, params.yaml
Writes  params.yaml (only the values that change), and what `dvc exp run` writes
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from darkroom.core.errors import UserError
from darkroom.pipeline import recipes
from darkroom.tracking import run_text

LOCKS = Path(".dvc/tmp/rwlock")  # DVC's own list of which process writes what


def main(name: str | None, settings: Sequence[str], experiment: str | None) -> None:
    """Check everything, write params.yaml, and become `dvc exp run`, so that terminal and signals are DVC's."""
    if name is None:
        print(recipes.listing())
        return
    content = recipes.merged(name, settings)
    prepare(experiment or name)
    recipes.write(content)
    os.environ[run_text.RECIPE] = name  # for the run in MLflow to say
    os.execv(sys.executable, [sys.executable, "-m", "dvc", "exp", "run", "-n", experiment or name])  # noqa: S606


def prepare(experiment: str) -> None:
    """See to it that DVC can run and keep an experiment of this name.

    Raises:
        UserError: one sentence on why it cannot; DVC's own would come after harm was done, or say less.
    """
    commit = _git("rev-parse", "--verify", "HEAD")
    if not commit:
        raise UserError("an experiment belongs to a git commit, and here is none: git init, git add -A, git commit.")
    if not _git("-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT"):
        raise UserError(
            "an experiment is kept as a git commit, but git does not know whose: git config user.name NAME, and "
            "git config user.email ADDRESS."
        )
    ref = f"refs/exps/{commit[:2]}/{commit[2:]}/{experiment}"
    if "/" in experiment or not _git("check-ref-format", "--print", ref):
        raise UserError(f"{experiment!r} cannot be an experiment's name: take letters, digits, dots, - and _.")
    if _git("rev-parse", "--verify", ref):
        raise UserError(
            f"there is an experiment {experiment} already: remove it by dvc exp remove {experiment}, or name this one "
            "otherwise by EXP=NAME (--exp NAME without make)."
        )
    # A second `dvc exp run` is refused by DVC, but spoils the first one's end.
    writing = json.loads(LOCKS.read_text() or "{}").get("write", {}) if LOCKS.exists() else {}
    pids = {process["pid"] for process in writing.values()}
    for process in psutil.process_iter(["cmdline"]):
        if process.pid in pids and "dvc" in " ".join(process.info["cmdline"] or ()):
            raise UserError(f"DVC is at work in this folder (process {process.pid}): wait for it, or end it.")
    # A `dvc exp run` that is killed leaves git on the same commit, but on no branch.
    killed = _git("rev-parse", "--verify", "refs/exps/exec/EXEC_BASELINE") and not _git("symbolic-ref", "-q", "HEAD")
    if killed and _git("rev-parse", "--verify", "@{-1}") == commit:
        _git("switch", "-q", "-")


def _git(*arguments: str) -> str:
    """What git prints; nothing if it fails."""
    done = subprocess.run(("git", *arguments), capture_output=True, text=True, check=False)
    return "" if done.returncode else done.stdout.strip()


ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"nargs": "?", "metavar": "NAME", "help": "the recipe; without it, a list of them"},
    "settings": {"nargs": "*", "metavar": "KEY=VALUE", "help": "on top of the recipe, such as base.seed=7"},
    "--exp": {"dest": "experiment", "metavar": "NAME", "help": "of the experiment; without it, the recipe's"},
}
