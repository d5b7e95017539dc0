"""What people see of runs in MLflow: names, columns, descriptions, and the page itself in a real browser."""

import json
import shutil

import pytest

from darkroom.commands import recipe
from darkroom.tracking import pipeline_log, run_text, views
from tests.helpers.project import ROOT, run, set_param
from tests.helpers.servers import page_of_mlflow
from tests.tracking.test_folds import by_kind, logged
from tests.tracking.test_tracking import runs


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "VGG16 block4_pool + dense"),
        ({"train.head.type": "rbf_svm", "extract.layers": ["block4_pool", "block5_pool"]}, "+block5_pool + rbf_svm"),
        ({"train.mode": "fine_tune"}, "VGG16 fine-tuned from block5"),
        ({"train.mode": "fine_tune", "train.fine_tune.unfreeze": 3}, "VGG16 fine-tuned, last 3 layers"),
        ({"train.mode": "fine_tune", "train.fine_tune.unfreeze": "all"}, "VGG16 fine-tuned whole"),
        ({"train.mode": "fine_tune", "train.fine_tune.unfreeze": "none"}, "VGG16 frozen, head on changing pictures"),
        ({"train.mode": "scratch"}, "mini_vggnet from scratch"),
        ({"split.method": "kfold", "split.fold": 2}, "VGG16 block4_pool + dense, fold 2"),
    ],
)
def test_a_run_is_named_after_what_is_trained(workspace, settings, name, monkeypatch):
    for key, value in settings.items():
        set_param(workspace, key, value)
    assert run_text.title().endswith(name)
    monkeypatch.setenv("DVC_EXP_NAME", "try")
    assert run_text.title() == "try"


def test_the_recipe_is_known_by_its_settings(workspace, monkeypatch):
    shutil.copytree(ROOT / "recipes", workspace / "recipes")
    assert "recipe" not in run_text.columns()
    for name in ("fashion_cnn", "animals_vgg16_features"):
        content = recipe.merged(name, ["base.seed=7"])  # what no recipe sets is one's own
        assert run_text.recipe(content) == name
    changed = recipe.merged("fashion_cnn", ["train.epochs=3", "train.batch_size=8"])
    assert run_text.recipe(changed) == ""
    monkeypatch.setenv(run_text.RECIPE, "fashion_cnn")
    assert run_text.recipe(changed) == "fashion_cnn with train.batch_size=8 train.epochs=3"
    recipe.write(changed)
    assert run_text.columns() == {
        "backbone": "none",
        "mode": "scratch",
        "recipe": "fashion_cnn with train.batch_size=8 train.epochs=3",
    }


def test_the_description_says_figures_data_and_the_way_back(pulled, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "try")
    pipeline_log.log_training()
    (before,) = runs(pulled)
    assert "calibration" not in before.data.tags[run_text.NOTE]  # what lies there may be of another model
    pipeline_log.log_evaluation()
    (held,) = runs(pulled)
    said, figures = held.data.tags[run_text.NOTE], json.loads((pulled / "reports/metrics.json").read_text())
    assert "| accuracy | {accuracy:.4f} | {accuracy_low:.4f} to {accuracy_high:.4f} |".format(**figures) in said
    assert "| calibration error (ECE) | {ece:.4f} | {ece_low:.4f} to {ece_high:.4f} |".format(**figures) in said
    assert "580 pictures of 10 classes from data/incoming (Ankle_boot 60, Bag 40, " in said
    assert "; 405 train, 57 val, 118 test." in said
    commit = run("git", "rev-parse", "HEAD", cwd=pulled).stdout.strip()
    assert f"git checkout {commit}\ndvc exp apply try" in said
    assert (held.data.tags["backbone"], held.data.tags["mode"]) == ("VGG16", "head")


def test_the_summary_gives_the_address_of_the_comparison(pulled):
    pipeline_log.log_training()
    experiment = runs(pulled)[0].info.experiment_id
    said = run("python", "-m", "stages.summary", cwd=pulled).stdout
    assert f"Compare runs    {views.address('http://127.0.0.1:5000', experiment)}\n" in said
    away = run("python", "-m", "stages.summary", cwd=pulled, MLFLOW_TRACKING_URI="http://127.0.0.1:9").stdout
    assert "Compare runs    the MLflow store http://127.0.0.1:9 does not answer" in away


@pytest.mark.full
def test_the_page_compares_runs(pulled, window):
    """Folds below their run, our columns in the table, curves and settings in charts, a run's description."""
    from playwright.sync_api import expect

    pipeline_log.log_training()
    pipeline_log.log_evaluation()
    for number in (1, 2):
        logged(pulled, number, number / 4)
    (parent,) = by_kind(pulled, "folds")
    link = views.address("", parent.info.experiment_id)
    expect.set_options(timeout=40_000)  # the page is large, and may share two cores
    with page_of_mlflow(pulled) as address:
        tab, _, _ = window(2400)
        tab.goto(address + link)
        expect(tab.get_by_text("VGG16 block3_pool + dense, 3-fold", exact=True)).to_be_visible()
        expect(tab.get_by_text("VGG16 block3_pool + dense, fold 1", exact=True)).to_have_count(0)
        for column in ("test_accuracy", "test_accuracy_std", "test_ece", "train.head.type", "backbone", "mode"):
            expect(tab.locator(".ag-header-cell").get_by_text(column, exact=True)).to_have_count(1)
        tab.locator(".ag-row button[data-component-id*=runnamecellrenderer]").first.click()
        for number in (1, 2):
            expect(tab.get_by_text(f"VGG16 block3_pool + dense, fold {number}", exact=True)).to_be_visible()
        expect(tab.locator(".ag-cell").get_by_text("0.375", exact=True).first).to_be_visible()  # their mean

        tab.goto("about:blank")
        tab.goto(f"{address}{link}&compareRunsMode=CHART")
        for title in ("val_loss", "val_accuracy"):
            expect(tab.get_by_text(title, exact=True)).to_be_visible()
        expect(tab.locator(".js-plotly-plot .scatterlayer .trace path.js-line").first).to_be_attached()

        tab.goto("about:blank")
        tab.goto(f"{address}/#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}")
        expect(tab.get_by_text("2 of 3 folds are evaluated.")).to_be_visible()
        fold = by_kind(pulled, "training")[1].info.run_id
        expect(tab.locator(f"a[href$='/runs/{fold}']", has_text="1")).to_be_visible()
