"""The view of runs in MLflow's web page: its columns and charts, stored as a tag of the experiment.

The format is the one in which the page's own button "Share" stores a view (MLflow 3.17).
"""

import json
from typing import Any

from darkroom.tracking.failures import insert

KEY = "darkroom"
TAG = f"mlflow.sharedViewState.{KEY}"
NAME, CREATED = "attributes.`Run Name`", "attributes.start_time"
COLUMNS = (
    "metrics.`test_accuracy`",
    "metrics.`test_accuracy_std`",
    "metrics.`test_log_loss`",
    "metrics.`test_ece`",
    "metrics.`train_seconds`",
    "params.`train.head.type`",
    "tags.`backbone`",
    "tags.`mode`",
    "tags.`recipe`",
)
CURVES = ("val_loss", "val_accuracy", "loss", "accuracy")
LINE = {"xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear", "lineSmoothness": 0, "range": {}}
FIGURES = ("test_accuracy", "test_log_loss", "test_ece")
SETTINGS = ("train.mode", "train.head.type", "train.head.dropout", "train.learning_rate")


def address(base: str, experiment: str) -> str:
    """The address at which a server at `base` shows an experiment's runs in this view, with the menu for training."""
    return f"{base.rstrip('/')}/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={KEY}"


def install(experiment: str) -> None:
    """Store the view in the experiment if it is not there yet."""
    import mlflow

    if mlflow.get_experiment(experiment).tags.get(TAG) != state():
        insert(lambda: mlflow.MlflowClient().set_experiment_tag(experiment, TAG, state()))


def state() -> str:
    """The view as JSON; whatever it does not mention is as the page has it by default."""
    charts = [
        *(_chart("LINE", name, metricKey=name, selectedMetricKeys=[name], **LINE) for name in CURVES),
        *(_chart("BAR", name, metricKey=name) for name in FIGURES),
        _chart(
            "PARALLEL",
            "settings",
            selectedParams=SETTINGS,
            selectedMetrics=FIGURES[:1],
            showAllRuns=False,
        ),
    ]
    section = {"uuid": KEY, "name": "Compare", "display": True, "isReordered": True, "deleted": False}
    view = {
        "selectedColumns": COLUMNS,
        "columnOrder": [NAME, CREATED, *COLUMNS],  # all others follow
        "columnWidths": {NAME: 300, CREATED: 130} | dict.fromkeys(COLUMNS, 115),
        "compareRunCharts": charts,
        "compareRunSections": [section],
        "globalLineChartConfig": {name: LINE[name] for name in ("xAxisKey", "lineSmoothness")},
        "isAccordionReordered": True,  # otherwise the page sorts the sections by name
    }
    return json.dumps(view)


def _chart(kind: str, name: str, **options: Any) -> dict[str, Any]:
    chart = {"type": kind, "uuid": f"{KEY}_{name}", "metricSectionId": KEY, "displayName": name}
    return chart | {"runsCountToCompare": 20, "deleted": False, "isGenerated": False, **options}
