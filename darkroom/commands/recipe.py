"""Run a recipe as a DVC experiment, or list the recipes.

A recipe is a known-good experiment. It is applied to params.yaml as it stands, so that settings which no recipe owns
(where your pictures are, which formats are exported) stay yours. Settings KEY=VALUE, with VALUE in YAML, override the
recipe. If a run failed or was killed, the same command resumes it.

Reads   recipes/NAME.yaml, params.yaml
Writes  params.yaml (only the values that change), and what `dvc exp run` writes
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

from darkroom.core.errors import UserError
from darkroom.pipeline import dvc_state, recipes
from darkroom.pipeline.git import git
from darkroom.pipeline.script import replace_process
from darkroom.tracking import run_text


def main(name: str | None, settings: Sequence[str], experiment: str | None) -> None:
    """Check everything, write params.yaml, and let `dvc exp run` replace this process, for terminal and signals."""
    if name is None:
        print(recipes.listing())
        return
    content = recipes.merged(name, settings)
    prepare(experiment or name)
    recipes.write_params(content)
    os.environ[run_text.RECIPE] = name  # recorded in the MLflow run
    replace_process([sys.executable, "-m", "dvc", "exp", "run", "-n", experiment or name])


def prepare(experiment: str) -> None:
    """Make sure that DVC can run and save an experiment of this name.

    Raises:
        UserError: it cannot; DVC's own message would be less clear, or come too late.
    """
    commit = git("rev-parse", "--verify", "HEAD")
    if not commit:
        raise UserError("an experiment needs a git commit to start from: run git init, git add -A, git commit.")
    if not git("-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT"):
        raise UserError(
            "an experiment is saved as a git commit, but git has no author: run git config user.name NAME and "
            "git config user.email ADDRESS."
        )
    ref = f"refs/exps/{commit[:2]}/{commit[2:]}/{experiment}"
    if "/" in experiment or not git("check-ref-format", "--print", ref):
        raise UserError(f"{experiment!r} cannot be the name of an experiment: use letters, digits, dots, - and _.")
    if git("rev-parse", "--verify", ref):
        raise UserError(
            f"experiment {experiment} exists already: remove it with dvc exp remove {experiment}, or choose another "
            "name with EXP=NAME (--exp NAME without make)."
        )
    # DVC refuses a second `dvc exp run`, but the attempt makes the first one fail at its end.
    if pid := dvc_state.writer():
        raise UserError(f"DVC is running in this folder (process {pid}): wait for it to end, or stop it.")
    dvc_state.repair()
    # A killed `dvc exp run` leaves git on the same commit, but on no branch.
    killed = git("rev-parse", "--verify", "refs/exps/exec/EXEC_BASELINE") and not git("symbolic-ref", "-q", "HEAD")
    if killed and git("rev-parse", "--verify", "@{-1}") == commit:
        git("switch", "-q", "-")


ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"nargs": "?", "metavar": "NAME", "help": "the recipe; without it, the recipes are listed"},
    "settings": {
        "nargs": "*",
        "metavar": "KEY=VALUE",
        "help": "override the recipe, such as base.seed=7",
    },
    "--exp": {"dest": "experiment", "metavar": "NAME", "help": "name of the experiment (default: the recipe's)"},
}
