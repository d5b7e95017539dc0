"""Recipes: the overlay on params.yaml, what is refused, what the file keeps, and a run through DVC."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from darkroom.core.errors import UserError
from darkroom.core.params import flat, overlay
from darkroom.pipeline import params, recipes
from tests.helpers.project import ROOT, commit, run

NAMES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))


@pytest.fixture
def kitchen(workspace):
    """The real params.yaml and recipes, as the current folder."""
    shutil.copytree(ROOT / "recipes", workspace / "recipes")
    return workspace


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_valid_minimal_and_explained(kitchen, name):
    content = recipes.merged(name, [])
    params.check(content)
    _, first, second, third, fourth, *rest = (kitchen / f"recipes/{name}.yaml").read_text().splitlines()
    assert first.startswith("# ")
    assert second.startswith("# From ")
    assert third.startswith("# Data: ")
    assert fourth.startswith("# Reached: ")
    assert sum(bool(line) for line in rest) <= 20
    assert f"{name}  " in recipes.listing()
    assert first[2:] in recipes.listing()
    assert recipes.deviations(name, params.complete(content)) == {}
    assert overlay({"download": {}}, params.load(kitchen / f"recipes/{name}.yaml")) == recipes.from_content(content)


def test_a_recipe_leaves_nothing_for_the_next(kitchen):
    """Whatever ran before it, a recipe is the same experiment."""
    start = params.load()
    contents = {name: params.load(kitchen / f"recipes/{name}.yaml") for name in NAMES}
    alone = {name: recipes.applied(start, recipe) for name, recipe in contents.items()}
    assert len({str(content) for content in alone.values()}) == len(NAMES)
    for before, after in itertools.permutations(NAMES, 2):
        assert recipes.applied(alone[before], contents[after]) == alone[after], (before, after)


def test_neither_does_it_leave_anything_in_the_file(kitchen):
    before = (kitchen / "params.yaml").read_text()
    for name in ("horses_inceptionv3", "mnist_cnn"):
        recipes.write_params(recipes.merged(name, ["download.classes={a: b}"]))
        assert recipes.deviations(name, params.complete(params.load())) == {"download": {"classes": {"a": "b"}}}
    assert params.load()["train"]["fine_tune"]["online"] == {"preset": "none"} | {
        key: None for key in params.load()["train"]["fine_tune"]["online"] if key != "preset"
    }
    recipes.write_params(params.complete({}))
    assert params.complete(params.load()) == params.complete({})
    assert [line.partition("#")[2] for line in (kitchen / "params.yaml").read_text().splitlines() if "#" in line] == [
        line.partition("#")[2] for line in before.splitlines() if "#" in line
    ]


def test_settings_that_no_recipe_owns_outlast_it(kitchen):
    own = ["download.path=../pictures", "download.unpacked_gb=70", "base.seed=7", "export.register=mine"]
    own += ["download.layout=classes", "download.table.label=breed"]
    recipes.write_params(recipes.merged("fashion_cnn", [*own, "download.min_side=3", "train.epochs=3"]))
    content = recipes.merged("flowers_mobilenetv2", [])
    assert (content["download"]["path"], content["download"]["unpacked_gb"]) == ("../pictures", 70)
    assert (content["download"]["layout"], content["download"]["table"]["label"]) == ("classes", "breed")
    assert (content["base"]["seed"], content["export"]["register"]) == (7, "mine")
    assert (content["download"]["min_side"], content["train"]["epochs"]) == (10, 50)


def test_a_recipe_without_a_section_download_leaves_the_data_alone(kitchen):
    (kitchen / "recipes/mine.yaml").write_text("# Mine.\n# From here.\ntrain: {epochs: 3}\n")
    content = recipes.merged("mine", [])
    assert content["download"] == params.load()["download"]
    recipes.write_params(overlay(params.load(), {"download": {"source": "folder", "min_side": 3}}))
    content = recipes.merged("mine", [])
    assert (content["download"]["source"], content["download"]["min_side"]) == ("folder", 3)


def test_content_becomes_the_recipe_that_reproduces_it(kitchen):
    """As a sweep writes it: where the pictures are stays out of it, and so do defaults."""
    change = {
        "download": {"min_side": 3, "path": "x"},
        "train": {"epochs": 3, "head": {"type": "knn"}},
        "base": {"seed": 1},
    }
    content = overlay(params.load(), change)
    recipe = recipes.from_content(content)
    assert recipe == {"download": {"min_side": 3}, "train": {"epochs": 3, "head": {"type": "knn"}}}
    with (kitchen / "recipes/mine.yaml").open("w") as stream:
        recipes.dump(recipe, stream)
    assert params.load(kitchen / "recipes/mine.yaml") == recipe
    assert recipes.deviations("mine", params.complete(content)) == {}
    assert recipes.from_content(params.load()) == {"download": {}}
    for name in NAMES:
        again = recipes.applied(recipes.merged(name, []), recipe)
        assert {key: again[key] for key in ("download", *recipes.OWNED)} == {
            key: params.complete(content)[key] | ({"path": "data/incoming"} if key == "download" else {})
            for key in ("download", *recipes.OWNED)
        }


def test_deviations_are_the_settings_that_differ(kitchen):
    content = params.complete(recipes.merged("fashion_cnn", ["train.epochs=3", "download.near_duplicates=null"]))
    assert recipes.deviations("fashion_cnn", content) == {"train": {"epochs": 3}, "download": {"near_duplicates": None}}
    assert "train.network" in flat(recipes.deviations("mnist_cnn", content))


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
        ("download.classes=[on, no]", ["on", "no"]),
        ("train.nesterov=true", True),
    ],
)
def test_a_setting_is_yaml(setting, value):
    change = recipes.parsed(setting)
    *sections, last = setting.partition("=")[0].split(".")
    for section in sections:
        change = change[section]
    assert change == {last: value}
    assert type(change[last]) is type(value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["train.epoch=3"], "train.epoch=3: train.epoch is unknown (allowed here: epochs, "),
        (["base.seed=7", "train.epochs=abc"], "train.epochs is 'abc', but should be a valid integer."),
        (["trian.epochs=3"], "trian.epochs=3: trian is not a section (sections: base, "),
        (["train.epochs.x=3"], "train.epochs is {'x': 3}, but should be a valid integer."),
        (["train.scratch.online.rotatoin=4"], "train.scratch.online.rotatoin is unknown (allowed here: preset, "),
        (["train.scratch.online.rotation=400"], "train.scratch.online.rotation is 400, but should be less than or "),
        (["seed"], "seed is not a setting: write KEY=VALUE, such as base.seed=7."),
        (["train.head.hidden=[1"], "the value of train.head.hidden=[1 is not valid YAML: "),
    ],
)
def test_a_wrong_setting_is_named(kitchen, settings, message):
    with pytest.raises(UserError) as error:
        recipes.merged("fashion_cnn", settings)
    assert message in str(error.value)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("recipes/mine.yaml", "# Mine.\ntrain: {epoch: 3}\n", "recipes/mine.yaml: train.epoch is unknown "),
        (
            "recipes/mine.yaml",
            "# Mine.\ntrain: {keep: 3}\n",
            "recipes/mine.yaml: train: keep 3 needs checkpoints: all.",
        ),
        ("recipes/mine.yaml", "# Mine.\n", "recipes/mine.yaml must be a mapping of sections "),
        ("recipes/mine.yaml", "train: [\n", "recipes/mine.yaml is not valid YAML: "),
        (
            "recipes/mine.yaml",
            "train: {}\ntrain: {}\n",
            'recipes/mine.yaml is not valid YAML: found duplicate key "train" in',
        ),
        ("params.yaml", "train: {epochs: -3}\n", "params.yaml: train.epochs is -3, but "),
        (None, None, "there is no recipe mine. Recipes, for make recipe NAME=…\n"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(kitchen, file, text, message):
    if file == "params.yaml":
        (kitchen / "recipes/mine.yaml").write_text("# Mine.\nbase: {seed: 3}\n")
    if file:
        (kitchen / file).write_text(text)
    with pytest.raises(UserError) as error:
        recipes.merged("mine", [])
    assert str(error.value).startswith(message)


def test_a_key_that_the_file_does_not_show_is_added_if_it_differs(kitchen):
    before = (kitchen / "params.yaml").read_text()
    content = recipes.merged("fashion_cnn", ["train.scratch.online.rotation=40", "train.fine_tune.online.fill=wrap"])
    recipes.write_params(content)
    assert params.complete(params.load()) == params.complete(content)
    assert params.load()["train"]["scratch"]["online"] == {"preset": "none", "rotation": 40}
    assert len((kitchen / "params.yaml").read_text().splitlines()) == len(before.splitlines())


def test_params_keep_their_comments_and_their_form(kitchen):
    before = (kitchen / "params.yaml").read_text()
    recipes.write_params(params.load())
    assert (kitchen / "params.yaml").read_text() == before
    recipes.write_params(params.complete({}))
    assert (kitchen / "params.yaml").read_text() == before
    change = {"train": {"epochs": 7, "head": {"hidden": []}}, "base": {"seed": None}}
    recipes.write_params(overlay(params.load(), change))
    after = (kitchen / "params.yaml").read_text()
    changed = [(old, new) for old, new in zip(before.splitlines(), after.splitlines(), strict=True) if old != new]
    assert [new.split("#")[0].strip() for _, new in changed] == ["seed: null", "hidden: []", "epochs: 7"]
    assert [new.split("#")[1:] for _, new in changed] == [old.split("#")[1:] for old, _ in changed]


def test_what_is_written_reads_the_same_here_and_in_dvc(kitchen):
    classes = {"n1": "on", "n2": "no", "yes": "1e-4", "n4": "0o7", "n5": "a: b #c", "n6": "Ä b", "n7": "~", "8": "08"}
    content = overlay(params.load(), {"download": {"classes": classes}, "train": {"learning_rate": 1e-5}})
    recipes.write_params(content)
    assert params.load() == content
    assert YAML(typ="safe").load(kitchen / "params.yaml") == content
    recipes.write_params(content := overlay(params.load(), {"download": {"classes": None}}))
    recipes.write_params(content := overlay(content, {"download": {"classes": {"other": "x"}}}))
    assert params.load() == content
    content["download"]["classes"] = {"third": "y"}
    recipes.write_params(content)  # the mapping is another, not both together
    assert params.load()["download"]["classes"] == {"third": "y"}


@pytest.mark.full
def test_a_recipe_runs_as_an_experiment_and_resumes_after_a_kill(cheap_copy):
    """The command, killed while the model is trained, then again with the same words, then once more."""
    graph = (cheap_copy / "dvc.yaml").read_text()
    train = "python -m tests.helpers.cheap train"
    slow = f"test -e .cache/go || sleep 600; printenv DVC_EXP_NAME DARKROOM_RECIPE > .cache/names; {train}"
    assert train in graph
    (cheap_copy / "dvc.yaml").write_text(graph.replace(train, slow))
    (cheap_copy / "recipes/tiny.yaml").write_text("# A small change.\n# From nowhere.\ntrain: {head: {dropout: 0.3}}\n")
    (cheap_copy / "params.yaml").write_text("# My own words.\n" + (cheap_copy / "params.yaml").read_text())
    (cheap_copy / ".cache").mkdir(exist_ok=True)
    commit(cheap_copy, "a stage that can be killed")
    command = ["make", "-s", "-o", ".venv/installed", "recipe", "NAME=tiny", "SET=evaluate.mistakes=6 train.epochs=5"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        command,
        cwd=cheap_copy,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert any("Running stage 'train'" in line for line in process.stdout)
        os.killpg(process.pid, signal.SIGKILL)
    assert not run("git", "branch", "--show-current", cwd=cheap_copy).stdout.strip()
    (cheap_copy / ".cache/go").touch()
    output = run(*command, cwd=cheap_copy).stdout
    assert [line for line in output.splitlines() if line.startswith("Running stage")] == [
        f"Running stage '{stage}':" for stage in ("train", "evaluate", "export")
    ]
    assert "\nTest accuracy   0." in output
    assert run("git", "branch", "--show-current", cwd=cheap_copy).stdout.strip()
    text = (cheap_copy / "params.yaml").read_text()
    assert text.startswith("# My own words.\n")
    content = params.load(cheap_copy / "params.yaml")
    assert (content["train"]["head"]["dropout"], content["evaluate"]["mistakes"]) == (0.3, 6)
    assert "tiny" in run("dvc", "exp", "show", "--csv", cwd=cheap_copy).stdout
    assert (cheap_copy / ".cache/names").read_text() == "tiny\ntiny\n"  # by which the run in MLflow is called

    result = run(*command, cwd=cheap_copy, check=False)
    assert result.returncode == 2  # make's
    assert "recipe: experiment tiny exists already" in result.stderr
    assert (cheap_copy / "params.yaml").read_text() == text
