"""Run a known-good experiment: a recipe is an overlay on params.yaml, run as the DVC experiment of its name.

It goes on params.yaml as it stands, not as it was committed, since what is yours alone (where your pictures lie, which
formats you export) must outlast it; therefore every recipe sets whatever another one sets. Settings KEY=VALUE, with
VALUE in YAML, go on top. After a run that failed or was killed the same command goes on.

Reads   recipes/NAME.yaml, params.yaml
Writes  params.yaml (the values that change, no more), and what `dvc exp run` writes
"""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml
from ruamel.yaml import YAML

from stages.common import params
from stages.common.errors import StageError
from stages.common.files import whole_file
from stages.common.paths import PARAMS
from stages.common.stage import command
from stages.common.tracking import described
from stages.common.tracking.described import RECIPES

LOCKS = Path(".dvc/tmp/rwlock")  # DVC's own list of which process writes what


def main(name: str | None, settings: Sequence[str], experiment: str | None) -> None:
    """Check everything, write params.yaml, and become `dvc exp run`, so that terminal and signals are DVC's."""
    if name is None:
        print(listing())
        return
    content = merged(name, settings)
    prepare(experiment or name)
    write(content)
    os.environ[described.RECIPE] = name  # for the run in MLflow to say
    os.execv(sys.executable, [sys.executable, "-m", "dvc", "exp", "run", "-n", experiment or name])  # noqa: S606


def listing() -> str:
    """The recipes, each with the first line of its file, a comment."""
    lines = {path.stem: path.read_text(encoding="utf-8").partition("\n")[0] for path in sorted(RECIPES.glob("*.yaml"))}
    return "\n".join(["Recipes, for make recipe NAME=…", *(f"  {name:<24}{line[2:]}" for name, line in lines.items())])


def merged(name: str, settings: Sequence[str]) -> dict[str, Any]:
    """What params.yaml says with the recipe and the settings on top.

    Raises:
        StageError: one sentence on what is wrong in params.yaml, in the recipe, or in the settings.
    """
    recipe = RECIPES / f"{name}.yaml"
    if not recipe.is_file():
        raise StageError(f"there is no recipe {name}. {listing()}")
    content = params.load()
    params.check(content)
    for source, changes in ((recipe, [params.load(recipe)]), (" ".join(settings), map(parsed, settings))):
        content = functools.reduce(overlaid, changes, content)
        try:
            params.check(content)
        except StageError as error:
            raise StageError(f"{source}: {str(error).removeprefix(f'{PARAMS}: ')}") from None
    return content


def parsed(setting: str) -> dict[str, Any]:
    """`train.epochs=5` as `{"train": {"epochs": 5}}`."""
    key, equals, text = setting.partition("=")
    if not equals:
        raise StageError(f"{setting} is no setting: write KEY=VALUE, such as base.seed=7.")
    try:
        value = yaml.load(text, Loader=params._Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise StageError(f"{setting}: the value is not valid YAML: {' '.join(str(error).split())}.") from None
    return functools.reduce(lambda inner, part: {part: inner}, reversed(key.split(".")), value)


def overlaid(content: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Mappings go into mappings key by key; everything else replaces what was there."""
    deeper = {key for key, value in change.items() if isinstance(value, dict) and isinstance(content.get(key), dict)}
    return content | change | {key: overlaid(content[key], change[key]) for key in deeper}


def prepare(experiment: str) -> None:
    """See to it that DVC can run and keep an experiment of this name.

    Raises:
        StageError: one sentence on why it cannot; DVC's own would come after harm was done, or say less.
    """
    commit = _git("rev-parse", "--verify", "HEAD")
    if not commit:
        raise StageError("an experiment belongs to a git commit, and here is none: git init, git add -A, git commit.")
    if not _git("-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT"):
        raise StageError(
            "an experiment is kept as a git commit, but git does not know whose: git config user.name NAME, and "
            "git config user.email ADDRESS."
        )
    ref = f"refs/exps/{commit[:2]}/{commit[2:]}/{experiment}"
    if "/" in experiment or not _git("check-ref-format", "--print", ref):
        raise StageError(f"{experiment!r} cannot be an experiment's name: take letters, digits, dots, - and _.")
    if _git("rev-parse", "--verify", ref):
        raise StageError(
            f"there is an experiment {experiment} already: remove it by dvc exp remove {experiment}, or name this one "
            "otherwise by EXP=NAME (--exp NAME without make)."
        )
    # A second `dvc exp run` is refused by DVC, but spoils the first one's end.
    writing = json.loads(LOCKS.read_text() or "{}").get("write", {}) if LOCKS.exists() else {}
    pids = {process["pid"] for process in writing.values()}
    for process in psutil.process_iter(["cmdline"]):
        if process.pid in pids and "dvc" in " ".join(process.info["cmdline"] or ()):
            raise StageError(f"DVC is at work in this folder (process {process.pid}): wait for it, or end it.")
    # A `dvc exp run` that is killed leaves git on the same commit, but on no branch.
    killed = _git("rev-parse", "--verify", "refs/exps/exec/EXEC_BASELINE") and not _git("symbolic-ref", "-q", "HEAD")
    if killed and _git("rev-parse", "--verify", "@{-1}") == commit:
        _git("switch", "-q", "-")


def _git(*arguments: str) -> str:
    """What git prints; nothing if it fails."""
    done = subprocess.run(("git", *arguments), capture_output=True, text=True, check=False)
    return "" if done.returncode else done.stdout.strip()


def write(content: dict[str, Any]) -> None:
    """Put the values into params.yaml; what stays the same, comments too, keeps its form."""
    form = yaml_form()
    now = form.load(PARAMS.read_text(encoding="utf-8"))
    _update(now, content)
    with whole_file(PARAMS) as partial:
        form.dump(now, partial)


def yaml_form() -> YAML:
    """How values are written so that PyYAML, by which the stages read them, and DVC read the same."""
    form = YAML()
    form.preserve_quotes, form.width, form.default_flow_style = True, 120, None
    form.representer.add_representer(type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null"))
    form.representer.add_representer(str, _text)
    return form


def _text(to: Any, text: str) -> Any:
    """In quotes where PyYAML would have them: a plain `on` is text to DVC, which reads YAML 1.2, but true to PyYAML."""
    style = "'" if yaml.safe_dump(text)[0] in "'\"" else None
    return to.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _update(now: dict[str, Any], content: dict[str, Any]) -> None:
    for key, value in content.items():
        if isinstance(value, dict) and isinstance(now.get(key), dict):
            _update(now[key], value)
        elif key not in now or now[key] != value:
            now[key] = value


ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"nargs": "?", "metavar": "NAME", "help": "the recipe; without it, a list of them"},
    "settings": {"nargs": "*", "metavar": "KEY=VALUE", "help": "on top of the recipe, such as base.seed=7"},
    "--exp": {"dest": "experiment", "metavar": "NAME", "help": "of the experiment; without it, the recipe's"},
}

if __name__ == "__main__":
    command("recipe", main, ARGUMENTS)
