"""The command recipe: what it refuses before anything runs, and real runs of every recipe."""

import json
import os
import shutil
import subprocess
import time

import numpy as np
import psutil
import pytest

from darkroom.commands import recipe
from darkroom.core.errors import UserError
from darkroom.pipeline import recipes
from tests.helpers import small_recipes
from tests.helpers.project import ROOT, clone, commit, identify, repository, run

NAMES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))


@pytest.fixture
def kitchen(workspace):
    """The real params.yaml and recipes in a git repository with one commit, as the current folder."""
    shutil.copytree(ROOT / "recipes", workspace / "recipes")
    repository(workspace)
    run("git", "symbolic-ref", "HEAD", "refs/heads/main", cwd=workspace)
    (workspace / ".gitignore").write_text("/.dvc/tmp\n/.dvc/cache\n")
    commit(workspace, "start")
    identify(workspace)
    return workspace


def test_a_mistake_ends_the_command_before_anything_is_changed(kitchen):
    """And in no time: TensorFlow is not imported."""
    before = (kitchen / "params.yaml").read_bytes()
    command = ["python", "-X", "importtime", "-m", "darkroom", "recipe", NAMES[0], "base.seed=7", "train.epochs=0"]
    result = run(*command, cwd=kitchen, check=False, PYTHONPATH=str(ROOT))
    message = "recipe: base.seed=7 train.epochs=0: train.epochs is 0, but should be greater than or equal to 1."
    assert (result.returncode, result.stderr.splitlines()[-1]) == (1, message)
    assert " pydantic\n" in result.stderr
    assert not any(f" {name}\n" in result.stderr for name in ("tensorflow", "keras", "mlflow", "sklearn"))
    assert (kitchen / "params.yaml").read_bytes() == before


def test_a_name_that_cannot_be_used_ends_the_command_before_anything_is_changed(kitchen):
    before = (kitchen / "params.yaml").read_bytes()
    for name, settings, experiment in (("unknown", [], None), (NAMES[0], [], "a/b")):
        with pytest.raises(UserError):
            recipe.main(name, settings, experiment)
    assert (kitchen / "params.yaml").read_bytes() == before


def test_without_a_name_the_recipes_are_listed(kitchen, capsys):
    recipe.main(None, [], None)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == NAMES


def test_the_command_becomes_an_experiment_of_dvc(kitchen, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "execv", lambda *call: calls.append(call))
    monkeypatch.setenv("DARKROOM_RECIPE", "another")
    recipe.main("fashion_cnn", ["base.seed=7"], None)
    assert "seed: 7 " in (kitchen / "params.yaml").read_text()
    recipe.main("fashion_cnn", [], "mine")
    assert [call[1][1:] for call in calls] == [
        ["-m", "dvc", "exp", "run", "-n", name] for name in ("fashion_cnn", "mine")
    ]
    assert os.environ["DARKROOM_RECIPE"] == "fashion_cnn"


def test_an_experiment_needs_a_commit_and_an_author(kitchen, monkeypatch):
    recipe.prepare("mine")
    for key in ("user.name", "user.email"):
        run("git", "config", "--unset", key, cwd=kitchen)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    with pytest.raises(UserError, match=r"^an experiment is saved as a git commit, but git has no author: run git con"):
        recipe.prepare("mine")
    shutil.rmtree(kitchen / ".git")
    with pytest.raises(UserError, match=r"^an experiment needs a git commit to start from: run git init, git add -A, "):
        recipe.prepare("mine")


@pytest.mark.parametrize("name", ["a/b", "a b", "a..b"])
def test_a_name_that_git_would_refuse_is_refused(kitchen, name):
    with pytest.raises(UserError, match=r"cannot be the name of an experiment: use letters, digits, dots, - and _\.$"):
        recipe.prepare(name)


def test_a_name_that_is_taken_is_refused(kitchen):
    head = run("git", "rev-parse", "HEAD", cwd=kitchen).stdout.strip()
    run("git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/mine", head, cwd=kitchen)
    with pytest.raises(
        UserError, match=r"^experiment mine exists already: remove it with dvc exp remove mine, or choo"
    ):
        recipe.prepare("mine")
    recipe.prepare("other")
    commit(kitchen, "experiments belong to a commit")
    recipe.prepare("mine")


def test_nothing_starts_while_dvc_runs_here(kitchen):
    """DVC would refuse a second run, but the first would come to nothing at its end."""
    (kitchen / ".dvc/tmp").mkdir(parents=True)
    with subprocess.Popen(["bash", "-c", "exec -a dvc sleep 60"]) as process:
        holders = {"/o": {"pid": process.pid, "cmd": "dvc exp run"}, "/p": {"pid": 2**22 - 1, "cmd": "dvc repro"}}
        (kitchen / ".dvc/tmp/rwlock").write_text(json.dumps({"write": holders, "read": {}}))
        while "dvc" not in (commandline := psutil.Process(process.pid).cmdline())[:1]:
            assert process.poll() is None, commandline
            time.sleep(0.01)
        with pytest.raises(UserError, match=rf"^DVC is running in this folder \(process {process.pid}\): wait for it"):
            recipe.prepare("mine")
        process.kill()
    recipe.prepare("mine")


def test_after_a_kill_git_is_put_back_on_its_branch(kitchen):
    head = run("git", "rev-parse", "HEAD", cwd=kitchen).stdout.strip()
    run("git", "checkout", "-q", "--detach", cwd=kitchen)
    recipe.prepare("mine")
    assert not run(
        "git", "branch", "--show-current", cwd=kitchen
    ).stdout.strip()  # it was no experiment that left it so
    run("git", "update-ref", "refs/exps/exec/EXEC_BASELINE", head, cwd=kitchen)
    recipe.prepare("mine")
    assert run("git", "branch", "--show-current", cwd=kitchen).stdout.strip() == "main"


def test_all_of_them_are_tried():
    """Where time allows: see the next test."""
    for name in NAMES:
        recipes.merged(name, small_recipes.SETTINGS[name])


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_runs_whole(pictures, tmp_path, name):
    folder = clone(tmp_path / "darkroom")
    identify(folder)
    small_recipes.fill(folder / "data/incoming", name, pictures)
    run("python", "-m", "darkroom", "recipe", name, *small_recipes.SETTINGS[name], cwd=folder)
    figures = json.loads((folder / "reports/metrics.json").read_text())
    assert all(np.isfinite(value) for value in figures.values() if isinstance(value, int | float))
    assert 0 < figures["accuracy"] <= 1
    assert name in run("dvc", "exp", "show", "--csv", cwd=folder).stdout
    changed = run("git", "status", "--porcelain", "--untracked-files=all", cwd=folder).stdout.split()
    assert changed == ["M", "dvc.lock", "M", "params.yaml"]
    assert run("dvc", "status", cwd=folder).stdout.strip() == "Data and pipelines are up to date."
