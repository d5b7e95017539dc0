"""The view of runs, in MLflow's page in a real browser."""

import re

import pytest

from darkroom.tracking import pipeline_log, views
from tests.helpers.servers import page_of_mlflow
from tests.helpers.tracking import log_fold, runs


@pytest.mark.full
def test_the_page_compares_runs(pulled, window):
    """Folds below their run, our columns in the table, curves and settings in charts, a run's description."""
    from playwright.sync_api import expect

    pipeline_log.log_training()
    pipeline_log.log_evaluation()
    for number in (1, 2):
        log_fold(pulled, number, number / 4)
    (parent,) = runs(pulled, "folds")
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
        fold = runs(pulled, "training")[1].info.run_id
        expect(tab.locator(f"a[href$='/runs/{fold}']", has_text=re.compile("^1$"))).to_be_visible()
