"""The summary of the last run."""

import json

import pytest

from darkroom.commands import summary
from darkroom.core.errors import UserError
from darkroom.core.files import write_json
from darkroom.core.paths import DATASET_REPORT, METRICS
from darkroom.tracking import pipeline_log, views
from tests.helpers.tracking import runs


def test_the_summary_says_where_everything_is(pulled, monkeypatch):
    (pulled / "exports/model.keras").touch()
    pipeline_log.log_training()
    text = summary.summary()
    assert f"Test accuracy   {json.loads(METRICS.read_text())['accuracy']:.4f}" in text
    (exported,) = [line for line in text.splitlines() if line.startswith("Exported model  exports: ")]
    assert set(exported.split(": ")[1].split(", ")) == {"saved_model", "model.onnx", "model.keras"}
    assert "Predict         .venv/bin/python -m darkroom predict PATH" in text
    assert ".venv/bin/mlflow ui --backend-store-uri sqlite:///" in text
    experiment = runs(pulled)[0].info.experiment_id
    assert text.splitlines()[-1] == f"Compare runs    {views.address('http://127.0.0.1:5000', experiment)}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "Compare runs    the MLflow store http://127.0.0.1:9 does not answer" in summary.summary()


def test_the_accuracy_is_shown_with_what_the_reports_hold_of_it(workspace):
    figures = {"accuracy": 0.75, "accuracy_low": 0.70123, "accuracy_high": 0.8, "n_test": 1200}
    assert summary.accuracy(figures) == "0.7500, 95 % interval 0.7012 to 0.8000, on 1,200 pictures"
    write_json(DATASET_REPORT, {"classes": {"cat": 1, "dog": 2}})
    assert summary.accuracy(figures).endswith(", on 1,200 pictures of 2 classes")
    del figures["accuracy_low"]
    assert summary.accuracy(figures) == "0.7500, on 1,200 pictures of 2 classes"
    assert summary.accuracy({"accuracy": 0.75}) == "0.7500"


def test_without_a_result_the_summary_names_the_remedy(workspace):
    with pytest.raises(UserError, match=r"^there is no reports/metrics\.json yet: run `dvc repro`\.$"):
        summary.main()
