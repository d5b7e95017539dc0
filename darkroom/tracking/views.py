"""How MLflow's page shows runs: which columns, which charts. Kept as a tag of the experiment, opened by its address.

The form is that in which the page's own button "Share" keeps what somebody sees (MLflow 3.17).
"""

import json
from typing import Any

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
    """Where a server at `base` shows an experiment's runs in this way, with the menu of model training."""
    return f"{base.rstrip('/')}/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={KEY}"


def offer(experiment: str) -> None:
    """See to it that the experiment keeps the view."""
    import mlflow

    if mlflow.get_experiment(experiment).tags.get(TAG) != state():
        mlflow.MlflowClient().set_experiment_tag(experiment, TAG, state())


def state() -> str:
    """The view: what is not named here is as the page has it by itself, its charts of all other metrics too."""
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
        "columnOrder": [NAME, CREATED, *COLUMNS],  # what is not named follows
        "columnWidths": {NAME: 300, CREATED: 130} | dict.fromkeys(COLUMNS, 115),
        "compareRunCharts": charts,
        "compareRunSections": [section],
        "globalLineChartConfig": {name: LINE[name] for name in ("xAxisKey", "lineSmoothness")},
        "isAccordionReordered": True,  # or the page would sort the sections by name
    }
    return json.dumps(view)


def _chart(kind: str, name: str, **more: Any) -> dict[str, Any]:
    about = {"type": kind, "uuid": f"{KEY}_{name}", "metricSectionId": KEY, "displayName": name}
    return about | {"runsCountToCompare": 20, "deleted": False, "isGenerated": False, **more}
