"""Names, columns and descriptions of runs."""

import json
import shutil

from darkroom.core.markdown import HIDDEN
from darkroom.core.paths import DATASET_REPORT, METRICS
from darkroom.pipeline import params, recipes
from darkroom.tracking import pipeline_log, run_text
from tests.helpers.project import ROOT, run, set_params
from tests.helpers.tracking import change_json, runs


def test_a_run_is_named_after_what_is_trained(workspace, monkeypatch):
    start = (workspace / "params.yaml").read_text()
    fine_tune = {"train.mode": "fine_tune"}
    for settings, name in (
        ({}, "VGG16 block3_pool + dense"),
        ({"train.head.type": "rbf_svm", "extract.layers": ["block4_pool", "block5_pool"]}, "+block5_pool + rbf_svm"),
        (fine_tune, "VGG16 fine-tuned from block5"),
        (fine_tune | {"train.fine_tune.unfreeze": 3}, "VGG16 fine-tuned, last 3 layers"),
        (fine_tune | {"train.fine_tune.unfreeze": "all"}, "VGG16 fine-tuned entirely"),
        (fine_tune | {"train.fine_tune.unfreeze": "none"}, "VGG16 frozen, head on augmented pictures"),
        ({"train.mode": "scratch"}, "mini_vggnet from scratch"),
        ({"split.method": "kfold", "split.fold": 2}, "VGG16 block3_pool + dense, fold 2"),
    ):
        (workspace / "params.yaml").write_text(start)
        set_params(workspace, settings)
        assert run_text.title().endswith(name)
    monkeypatch.setenv("DVC_EXP_NAME", "try")
    assert run_text.title() == "try"


def test_the_recipe_is_recognised_by_its_settings(workspace, monkeypatch):
    shutil.copytree(ROOT / "recipes", workspace / "recipes")
    (workspace / "recipes/unfinished.yaml").write_text("train: {epochs: many}\n")  # stops no training
    (workspace / "recipes/broken.yaml").write_text("train: {\n")
    assert "recipe" not in run_text.columns()
    for name in ("fashion_cnn", "animals_vgg16_features"):
        content = params.complete(recipes.merged(name, ["base.seed=7"]))  # no recipe sets it
        assert run_text.recipe(content) == name
    changed = recipes.merged("fashion_cnn", ["train.epochs=3", "train.batch_size=8"])
    assert run_text.recipe(params.complete(changed)) == ""
    monkeypatch.setenv(run_text.RECIPE, "fashion_cnn")
    text = "fashion_cnn with train.epochs=3 train.batch_size=8"
    assert run_text.recipe(params.complete(changed)) == text
    recipes.write_params(changed)
    assert run_text.columns() == {"backbone": "none", "mode": "scratch", "recipe": text}


def test_the_description_has_figures_data_and_how_to_reproduce_it(pulled, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "try")
    pipeline_log.log_training()
    (before,) = runs(pulled)
    assert "calibration" not in before.data.tags[run_text.NOTE]  # the evaluation there may belong to another model
    pipeline_log.log_evaluation()
    (logged,) = runs(pulled)
    text, figures = logged.data.tags[run_text.NOTE], json.loads(METRICS.read_text())
    assert "| accuracy | {accuracy:.4f} | {accuracy_low:.4f} to {accuracy_high:.4f} |".format(**figures) in text
    assert "| calibration error | {ece:.4f} | {ece_low:.4f} to {ece_high:.4f} |".format(**figures) in text
    assert "580 pictures of 10 classes from data/incoming (Ankle_boot 60, Bag 40, " in text
    assert "; 405 train, 57 val, 118 test." in text
    commit = run("git", "rev-parse", "HEAD", cwd=pulled).stdout.strip()
    assert f"git checkout {commit}\ndvc exp apply try" in text
    assert (logged.data.tags["backbone"], logged.data.tags["mode"]) == ("VGG16", "head")


def test_names_from_outside_are_only_text_in_the_description(pulled):
    """Neither HTML nor links, tables, headings or the end of a block of code."""
    names = [
        "<script>alert(1)</script>",
        "[click](http://evil)",
        "a|b\n# heading",
        "```",
        "x" * 255,
        "\x1b[31mred\u202e",
    ]
    names.append("x" * 255)
    change_json(DATASET_REPORT, classes=dict.fromkeys(names, 5))
    set_params(pulled, {"download.path": "data/<img src=x onerror=alert(1)>"})
    note = run_text.note(None, {"git_commit": "none", "dvc_experiment": "x; rm -rf ~ ```\n<b>"})
    data, commands = note.split("**To reproduce it**")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; 5" in data
    assert "\\[click\\](http://evil) 5" in data
    assert "a\\|b # heading 5" in data
    assert "<" not in data
    assert not HIDDEN.search(note.replace("\n", ""))
    assert commands.count("```") == 2
    assert "dvc exp apply 'x; rm" in commands
    assert len(note) < 8000
