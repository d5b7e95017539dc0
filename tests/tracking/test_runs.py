"""Runs in MLflow: found by the model, written once, created where a store does not have them."""

from pathlib import Path

import pytest

from darkroom.commands import track
from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.core.paths import HISTORY, METRICS, MODEL_SUMMARY, ROC, SPLIT_REPORT
from darkroom.tracking import pipeline_log
from tests.helpers.project import set_param
from tests.helpers.tracking import change_evaluation, change_json, curve, parent_and_child, runs, snapshot


def fail(missing, log):
    """Let `log` fail since a file is missing."""
    missing.rename("away")
    with pytest.raises((OSError, UserError), match=missing.name):
        log()
    Path("away").rename(missing)


def test_outputs_without_a_run_are_written_once(pulled, capsys):
    track.main()
    assert "holds this model's run" in capsys.readouterr().out
    (run,) = runs(pulled)
    assert run.data.tags["replayed"] == "true"
    assert [epoch for epoch, _ in curve(pulled, run)] == [int(row["epoch"]) for row in read_csv(HISTORY)]
    before = snapshot(pulled)
    track.main()
    assert snapshot(pulled) == before


def test_another_evaluation_is_a_child_and_overwrites_nothing(pulled):
    pipeline_log.log_evaluation()
    (before,) = runs(pulled)
    change_json(METRICS, accuracy=0.123)
    for _ in range(2):
        pipeline_log.log_evaluation()
    parent, child = parent_and_child(pulled)
    assert parent.data.metrics == before.data.metrics
    assert child.data.metrics["test_accuracy"] == 0.123


def test_failed_attempts_at_another_evaluation_share_one_run(pulled):
    pipeline_log.log_evaluation()
    change_evaluation(0.123)
    for _ in range(2):
        fail(ROC, pipeline_log.log_evaluation)
    pipeline_log.log_evaluation()
    _, child = parent_and_child(pulled)
    assert child.info.status == "FINISHED"
    assert child.data.metrics["test_accuracy"] == 0.123


def test_failed_attempts_to_write_a_training_share_one_run(pulled):
    for missing in (SPLIT_REPORT, MODEL_SUMMARY, MODEL_SUMMARY):  # read before and after the curves are written
        fail(missing, pipeline_log.log_training)
    assert [run.info.status for run in runs(pulled)] == ["FAILED"]
    pipeline_log.log_training()
    (run,) = runs(pulled)
    assert run.info.status == "FINISHED"
    assert len(run.inputs.dataset_inputs) == 3
    assert [epoch for epoch, _ in curve(pulled, run)] == [int(row["epoch"]) for row in read_csv(HISTORY)]


def test_a_failed_attempt_with_other_params_is_not_continued(pulled):
    """MLflow would refuse to change them."""
    fail(MODEL_SUMMARY, pipeline_log.log_training)
    set_param(pulled, "evaluate.mistakes", 5)
    pipeline_log.log_training()
    assert sorted(run.info.status for run in runs(pulled)) == ["FAILED", "FINISHED"]
