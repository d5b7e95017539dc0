"""Recipes: the overlay, what is refused before anything runs, and real runs through the command."""

import csv
import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from ruamel.yaml import YAML

from darkroom.commands import recipe
from darkroom.core import params
from darkroom.core.errors import UserError
from darkroom.images.decode import decode
from tests.helpers.project import ROOT, clone, commit, run

NAMES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))


def identify(folder):
    """Tell git who commits, which DVC needs to keep an experiment."""
    for key, value in (("user.name", "Test"), ("user.email", "test@localhost")):
        run("git", "config", key, value, cwd=folder)


@pytest.fixture
def kitchen(workspace):
    """The real params.yaml and recipes in a git repository with one commit, as the current folder."""
    shutil.copytree(ROOT / "recipes", workspace / "recipes")
    run("git", "init", "-q", "-b", "main", cwd=workspace)
    commit(workspace, "start")
    identify(workspace)
    return workspace


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_valid_and_says_what_it_is(kitchen, name):
    params.check(recipe.merged(name, []))
    first, second = (kitchen / f"recipes/{name}.yaml").read_text().splitlines()[:2]
    assert first.startswith("# ")
    assert second.startswith("# From ")
    assert f"{name}  " in recipe.listing()
    assert first[2:] in recipe.listing()


@pytest.mark.parametrize(("first", "then"), itertools.permutations(NAMES, 2))
def test_a_recipe_leaves_nothing_for_the_next(kitchen, first, then):
    """Whatever ran before it, a recipe is the same experiment."""
    alone = recipe.merged(then, [])
    recipe.write(recipe.merged(first, []))
    assert params.flat(recipe.merged(then, [])) == params.flat(alone)


def test_settings_of_ones_own_outlast_a_recipe(kitchen):
    recipe.write(recipe.merged("fashion_cnn", ["download.path=../pictures", "base.seed=7", "export.register=mine"]))
    content = recipe.merged("flowers_mobilenetv2", [])
    assert (content["download"]["path"], content["base"]["seed"]) == ("../pictures", 7)
    assert content["export"]["register"] == "mine"


def test_mappings_merge_and_everything_else_replaces():
    content = {"a": {"b": 1, "c": [1, 2], "d": None}, "e": {"f": {"g": 1}}}
    change = {"a": {"c": [3], "d": {"x": "y"}}, "e": {"f": {"h": 2}}}
    assert recipe.overlaid(content, change) == {
        "a": {"b": 1, "c": [3], "d": {"x": "y"}},
        "e": {"f": {"g": 1, "h": 2}},
    }
    assert recipe.overlaid(content, {"e": None})["e"] is None
    assert content["a"]["c"] == [1, 2]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("base.seed=7", 7),
        ("train.learning_rate=1e-4", 1e-4),
        ("train.patience=null", None),
        ("train.patience=", None),
        ("download.path=../animals (1).tar", "../animals (1).tar"),
        ("download.url=https://x.org/a?b=c", "https://x.org/a?b=c"),
        ("extract.weights=models:/animals/3", "models:/animals/3"),
        ("train.head.hidden=[64, 32]", [64, 32]),
        ("download.classes={n02123045: cat}", {"n02123045": "cat"}),
        ("train.nesterov=true", True),
    ],
)
def test_a_setting_is_yaml(setting, value):
    *sections, last = setting.partition("=")[0].split(".")
    change = recipe.parsed(setting)
    for section in sections:
        change = change[section]
    assert change == {last: value}
    assert type(change[last]) is type(value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["train.epoch=3"], "train.epoch=3: train.epoch is unknown (allowed here: epochs, "),
        (["base.seed=7", "train.epochs=abc"], "train.epochs is 'abc', but should be a valid integer."),
        (["trian.epochs=3"], "trian.epochs=3: trian is no section (sections: base, "),
        (["train.epochs.x=3"], "train.epochs is {'x': 3}, but should be a valid integer."),
        (["train.scratch.online.rotatoin=4"], "train.scratch.online.rotatoin is unknown (allowed here: preset, "),
        (["train.scratch.online.rotation=400"], "train.scratch.online.rotation is 400, but should be less than or "),
        (["seed"], "seed is no setting: write KEY=VALUE, such as base.seed=7."),
        (["train.head.hidden=[1"], "train.head.hidden=[1: the value is not valid YAML: "),
    ],
)
def test_a_wrong_setting_is_named(kitchen, settings, said):
    with pytest.raises(UserError) as error:
        recipe.merged("fashion_cnn", settings)
    assert said in str(error.value)
    assert str(error.value).endswith(".")


def test_a_key_that_only_the_model_knows_is_fine(kitchen):
    content = recipe.merged("fashion_cnn", ["train.scratch.online.rotation=40", "train.fine_tune.online.fill=wrap"])
    recipe.write(content)
    assert params.load() == content
    assert content["train"]["scratch"]["online"] == {"preset": "none", "rotation": 40}


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("recipes/mine.yaml", "# Mine.\ntrain: {epoch: 3}\n", "recipe: recipes/mine.yaml: train.epoch is unknown "),
        ("recipes/mine.yaml", "# Mine.\n", "recipe: recipes/mine.yaml must hold the sections "),
        ("recipes/mine.yaml", "train: [\n", "recipe: recipes/mine.yaml is not valid YAML: "),
        ("params.yaml", "train: {epochs: -3}\n", "recipe: params.yaml: "),
        (None, None, "recipe: there is no recipe mine. Recipes, for make recipe NAME=…\n"),
    ],
)
def test_what_is_wrong_ends_the_command_before_anything_is_changed(kitchen, file, text, said):
    if file != "recipes/mine.yaml" and file:
        (kitchen / "recipes/mine.yaml").write_text("# Mine.\nbase: {seed: 3}\n")
    if file:
        (kitchen / file).write_text(text)
    before = (kitchen / "params.yaml").read_bytes()
    done = run("python", "-m", "stages.recipe", "mine", cwd=kitchen, check=False, PYTHONPATH=str(ROOT))
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.stderr
    assert (kitchen / "params.yaml").read_bytes() == before


def test_without_a_name_the_recipes_are_listed(kitchen):
    said = run("python", "-m", "stages.recipe", cwd=kitchen, PYTHONPATH=str(ROOT)).stdout
    assert [line.split()[0] for line in said.splitlines()[1:]] == NAMES


def test_tensorflow_is_not_imported(kitchen):
    words = ["python", "-X", "importtime", "-m", "stages.recipe", NAMES[0], "train.epochs=0"]
    done = run(*words, cwd=kitchen, check=False, PYTHONPATH=str(ROOT))
    assert "train.epochs is 0, but should be greater than or equal to 1." in done.stderr
    assert "pydantic" in done.stderr
    assert "tensorflow" not in done.stderr


def test_params_keep_their_comments_and_their_form(kitchen):
    before = (kitchen / "params.yaml").read_text()
    recipe.write(params.load())
    assert (kitchen / "params.yaml").read_text() == before
    recipe.write(
        recipe.overlaid(params.load(), {"train": {"epochs": 7, "head": {"hidden": []}}, "base": {"seed": None}})
    )
    after = (kitchen / "params.yaml").read_text()
    changed = [(old, new) for old, new in zip(before.splitlines(), after.splitlines(), strict=True) if old != new]
    assert [new.split("#")[0].strip() for _, new in changed] == ["seed: null", "hidden: []", "epochs: 7"]
    assert [new.split("#")[1:] for _, new in changed] == [old.split("#")[1:] for old, _ in changed]


def test_the_stages_and_dvc_read_the_same_params(kitchen):
    """The ones read YAML 1.1, the other YAML 1.2, for which `on`, 1e-4 and 0o7 are other things."""
    classes = {"n1": "on", "n2": "no", "yes": "1e-4", "n4": "0o7", "n5": "a: b #c", "n6": "Ä b", "n7": "~", "8": "08"}
    content = recipe.overlaid(params.load(), {"download": {"classes": classes}, "train": {"learning_rate": 1e-5}})
    recipe.write(content)
    assert params.load() == content
    assert YAML(typ="safe").load(kitchen / "params.yaml") == content


def test_an_experiment_needs_a_commit_and_somebody_who_commits(kitchen, monkeypatch):
    recipe.prepare("mine")
    for key in ("user.name", "user.email"):
        run("git", "config", "--unset", key, cwd=kitchen)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    with pytest.raises(
        UserError, match=r"^an experiment is kept as a git commit, but git does not know whose: git con"
    ):
        recipe.prepare("mine")
    shutil.rmtree(kitchen / ".git")
    with pytest.raises(UserError, match=r"^an experiment belongs to a git commit, and here is none: git init, git add"):
        recipe.prepare("mine")


@pytest.mark.parametrize("name", ["a/b", "a b", "a..b"])
def test_a_name_that_git_would_not_take_is_refused(kitchen, name):
    with pytest.raises(UserError, match=r"cannot be an experiment's name: take letters, digits, dots, - and _\.$"):
        recipe.prepare(name)


def test_a_name_that_is_taken_is_refused(kitchen):
    head = run("git", "rev-parse", "HEAD", cwd=kitchen).stdout.strip()
    run("git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/mine", head, cwd=kitchen)
    with pytest.raises(UserError, match=r"^there is an experiment mine already: remove it by dvc exp remove mine, or"):
        recipe.prepare("mine")
    recipe.prepare("other")
    commit(kitchen, "experiments belong to a commit")
    recipe.prepare("mine")


def test_while_dvc_works_here_nothing_else_begins(kitchen):
    """DVC would refuse a second run, but the first would come to nothing at its end."""
    (kitchen / ".dvc/tmp").mkdir(parents=True)
    with subprocess.Popen(["bash", "-c", "exec -a dvc sleep 60"]) as process:
        holders = {"/o": {"pid": process.pid, "cmd": "dvc exp run"}, "/p": {"pid": 2**22 - 1, "cmd": "dvc repro"}}
        (kitchen / ".dvc/tmp/rwlock").write_text(json.dumps({"write": holders, "read": {}}))
        time.sleep(0.2)  # until it has its name
        with pytest.raises(UserError, match=rf"^DVC is at work in this folder \(process {process.pid}\): wait for it"):
            recipe.prepare("mine")
        process.kill()
    recipe.prepare("mine")


def test_a_recipe_runs_as_an_experiment_and_goes_on_after_a_kill(project, tmp_path):
    """The command, killed while it trains, then again with the same words, then once more."""
    copy = tmp_path / "copy"
    shutil.copytree(project, copy, symlinks=True)
    identify(copy)
    (copy / "recipes/tiny.yaml").write_text("# A small change.\n# From nowhere.\ntrain: {head: {dropout: 0.3}}\n")
    (copy / "params.yaml").write_text("# My own words.\n" + (copy / "params.yaml").read_text())
    again = ["make", "-s", "-o", ".venv/installed", "recipe", "NAME=tiny", "SET=evaluate.mistakes=6 train.epochs=5"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        again, cwd=copy, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert any("Running stage 'train'" in line for line in process.stdout)
        os.killpg(process.pid, signal.SIGKILL)
    assert not run("git", "branch", "--show-current", cwd=copy).stdout.strip()
    said = run(*again, cwd=copy).stdout
    assert [line for line in said.splitlines() if line.startswith("Running stage")] == [
        f"Running stage '{stage}':" for stage in ("train", "evaluate", "export")
    ]
    assert "\nTest accuracy   0." in said
    assert run("git", "branch", "--show-current", cwd=copy).stdout.strip()
    text = (copy / "params.yaml").read_text()
    assert text.startswith("# My own words.\n")
    content = yaml.safe_load(text)
    assert (content["train"]["head"]["dropout"], content["evaluate"]["mistakes"]) == (0.3, 6)
    assert "tiny" in run("dvc", "exp", "show", "--csv", cwd=copy).stdout
    with sqlite3.connect(copy / "mlflow.db") as store:
        assert ("tiny", "FINISHED") in store.execute("select name, status from runs").fetchall()

    done = run(*again, cwd=copy, check=False)
    assert done.returncode == 2  # make's
    assert "recipe: there is an experiment tiny already" in done.stderr
    assert (copy / "params.yaml").read_text() == text


# What makes each recipe small; only VGG16's weights are within reach everywhere.
SMALL = {
    "animals_minivgg": ["augment.target=40", "train.epochs=2"],
    "animals_vgg16_features": ["extract.image_size=[64, 64]"],
    "animals_vgg16_finetune": ["extract.image_size=[64, 64]", "train.epochs=2", "train.fine_tune.epochs=1"],
    "fashion_cnn": ["download.limit_per_class=100", "train.epochs=2"],
    "flowers_mobilenetv2": ["extract.weights=random", "extract.image_size=[64, 64]", "train.epochs=2"],
    "horses_inceptionv3": ["extract.weights=random", "extract.image_size=[96, 96]", "train.fine_tune.epochs=1"],
    "mnist_cnn": ["split.fixed=[100, 1]", "train.steps=4", "train.validate_every=2"],
}


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_runs_whole(pictures, tmp_path, name):
    folder = clone(tmp_path / "darkroom")
    identify(folder)
    incoming = folder / "data/incoming"
    if name == "mnist_cnn":
        mixed = sorted(pictures, key=lambda path: path.name)  # the number of its row
        rows = [[path.parent.name, *decode(path)[..., 0].ravel()] for path in mixed]
        for file, chosen in (("mnist_train.csv", rows[::2] + rows[1::4]), ("mnist_test.csv", rows[3::4])):
            with (incoming / file).open("w", newline="") as stream:
                csv.writer(stream).writerows(chosen)
    else:
        labels = ["Bag", "Coat"] if name == "horses_inceptionv3" else ["Bag", "Coat", "Sandal"]
        for path in pictures:
            if path.parent.name in labels:
                (incoming / path.parent.name).mkdir(exist_ok=True)
                shutil.copy(path, incoming / path.parent.name)
    run("python", "-m", "stages.recipe", name, *SMALL[name], cwd=folder)
    figures = json.loads((folder / "reports/metrics.json").read_text())
    assert all(np.isfinite(value) for value in figures.values() if isinstance(value, int | float))
    assert 0 < figures["accuracy"] <= 1
    assert name in run("dvc", "exp", "show", "--csv", cwd=folder).stdout
    changed = run("git", "status", "--porcelain", "--untracked-files=all", cwd=folder).stdout.split()
    assert changed == ["M", "dvc.lock", "M", "params.yaml"]
    assert run("dvc", "status", cwd=folder).stdout.strip() == "Data and pipelines are up to date."
