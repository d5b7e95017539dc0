"""K-fold validation in MLflow: one run above the folds, which sums them up."""

import json
import shutil
import statistics
import subprocess
import sys

import mlflow
import pytest

from darkroom.core.paths import METRICS, MODELS
from darkroom.models import classifier
from darkroom.models.classifier import digest
from darkroom.tracking import folds, pipeline_log, registry, run_text
from darkroom.tracking import runs as model_runs
from darkroom.tracking.store import connect
from tests.helpers.project import run, set_param
from tests.tracking.test_tracking import evaluated_again, runs


def trained(folder, number, accuracy, epochs=6, temperature=None):
    """What `dvc exp run -S split.fold=NUMBER` leaves: another model, and its figures."""
    for key, value in (("split.method", "kfold"), ("split.folds", 3), ("split.fold", number), ("train.epochs", epochs)):
        set_param(folder, key, value)
    settings = folder / MODELS / classifier.SETTINGS
    said = json.loads(settings.read_text())
    settings.write_text(json.dumps({**said, "temperature": temperature or number + epochs / 100}))
    figures = json.loads((folder / METRICS).read_text())
    new = {"accuracy": accuracy, "ece": accuracy / 10, "model_sha256": digest(folder / MODELS)}
    (folder / METRICS).write_text(json.dumps(figures | new))


def logged(folder, *what, **more):
    trained(folder, *what, **more)
    pipeline_log.log_training()
    pipeline_log.log_evaluation()


def by_kind(folder, kind):
    return sorted((one for one in runs(folder) if one.data.tags["kind"] == kind), key=lambda one: one.info.start_time)


def everything(folder):
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    return {
        one.info.run_id: (
            (one.data.metrics, one.data.params, one.data.tags),
            one.info.end_time,
            [len(client.get_metric_history(one.info.run_id, name)) for name in sorted(one.data.metrics)],
        )
        for one in runs(folder)
    }


def test_folds_are_children_of_one_run_with_mean_and_spread(pulled):
    accuracies = [0.8, 0.9, 0.7]
    for number, accuracy in enumerate(accuracies, start=1):
        logged(pulled, number, accuracy)
    (parent,) = by_kind(pulled, folds.KIND)
    children = by_kind(pulled, "training")
    assert {one.data.tags["mlflow.parentRunId"] for one in children} == {parent.info.run_id}
    assert [one.info.run_name for one in children] == [f"VGG16 block3_pool + dense, fold {k}" for k in (1, 2, 3)]
    assert parent.info.run_name == "VGG16 block3_pool + dense, 3-fold"
    assert parent.info.status == "FINISHED"
    held = parent.data.metrics
    assert held["folds"] == 3
    assert held["test_accuracy"] == pytest.approx(statistics.fmean(accuracies))
    assert held["test_accuracy_std"] == pytest.approx(statistics.stdev(accuracies))
    assert held["test_ece"] == pytest.approx(0.08)
    assert "final_val_log_loss_std" in held
    assert not [name for name in held if name.endswith(("_low", "_high", "_n"))]
    assert held.keys() <= {"folds"} | {f"{name}{end}" for name in children[0].data.metrics for end in ("", "_std")}
    wanted = {key: value for key, value in children[0].data.params.items() if key != "split.fold"}
    assert parent.data.params == wanted
    assert "3 of 3 folds are evaluated" in parent.data.tags[run_text.NOTE]

    before = everything(pulled)
    for _ in range(2):
        pipeline_log.log_training()
        pipeline_log.log_evaluation()
    run("python", "-m", "stages.track", cwd=pulled)
    del (after := everything(pulled))[children[2].info.run_id], before[children[2].info.run_id]  # its export came
    assert after == before


def test_a_fold_that_was_trained_twice_counts_once(pulled):
    logged(pulled, 1, 0.8)
    logged(pulled, 2, 0.6)
    logged(pulled, 1, 0.9, temperature=5.5)
    (parent,) = by_kind(pulled, folds.KIND)
    assert parent.data.metrics["folds"] == 2
    assert parent.data.metrics["test_accuracy"] == pytest.approx(0.75)
    trained(pulled, 2, 0.1, temperature=6.5)
    pipeline_log.log_training()  # nobody knows yet what it comes to
    (parent,) = by_kind(pulled, folds.KIND)
    assert len(by_kind(pulled, "training")) == 4
    assert parent.data.metrics["test_accuracy"] == pytest.approx(0.75)


def test_other_settings_and_other_pictures_are_other_groups(pulled):
    logged(pulled, 1, 0.8)
    set_param(pulled, "export.check_pictures", 19)  # has no part in what a model is
    logged(pulled, 2, 0.7)
    assert len(by_kind(pulled, folds.KIND)) == 1
    logged(pulled, 2, 0.7, epochs=5)
    lock = pulled / "dvc.lock"
    md5 = by_kind(pulled, "training")[0].data.tags["data.raw.md5"]
    lock.write_text(lock.read_text().replace(md5, f"{'0' * 32}.dir"))
    logged(pulled, 3, 0.6)
    assert [one.data.metrics["folds"] for one in by_kind(pulled, folds.KIND)] == [2, 1, 1]


def test_of_two_runs_above_the_older_stays(pulled):
    """Two machines that begin at the same moment each make one."""
    logged(pulled, 1, 0.8)
    (first,) = by_kind(pulled, folds.KIND)
    client = mlflow.MlflowClient()
    twin = client.create_run(
        first.info.experiment_id,
        start_time=first.info.start_time + 1,
        tags={name: first.data.tags[name] for name in (model_runs.KIND, folds.GROUP)},
    )
    (child,) = by_kind(pulled, "training")
    client.set_tag(child.info.run_id, model_runs.PARENT, twin.info.run_id)
    logged(pulled, 2, 0.6)
    (only,) = by_kind(pulled, folds.KIND)
    assert only.info.run_id == first.info.run_id
    assert only.data.metrics["test_accuracy"] == pytest.approx(0.7)
    assert {one.data.tags[model_runs.PARENT] for one in by_kind(pulled, "training")} == {only.info.run_id}


def test_a_run_above_that_was_deleted_is_made_again(pulled):
    logged(pulled, 1, 0.8)
    mlflow.MlflowClient().delete_run(by_kind(pulled, folds.KIND)[0].info.run_id)
    logged(pulled, 2, 0.6)
    (new,) = by_kind(pulled, folds.KIND)
    assert new.data.metrics["folds"] == 2


def test_a_fold_below_another_run_stays_there(pulled):
    trained(pulled, 1, 0.8)
    with mlflow.start_run(experiment_id=connect(), run_name="sweep") as sweep:
        pass
    only = model_runs.model_run()
    mlflow.MlflowClient().set_tag(only.info.run_id, model_runs.PARENT, sweep.info.run_id)
    pipeline_log.log_evaluation()
    held = mlflow.get_run(only.info.run_id).data
    assert held.tags[model_runs.PARENT] == sweep.info.run_id
    assert held.metrics["test_accuracy"] == 0.8
    assert not [one for one in runs(pulled) if one.data.tags.get("kind") == folds.KIND]


def test_a_fold_is_a_training_and_keeps_its_evaluations(pulled):
    logged(pulled, 1, 0.8)
    (fold,) = by_kind(pulled, "training")
    assert registry.trained_run(fold).info.run_id == fold.info.run_id
    assert registry.evaluated_run(fold).info.run_id == fold.info.run_id
    inputs = len(fold.inputs.dataset_inputs)
    evaluated_again(0.3)
    pipeline_log.log_evaluation()
    (other,) = by_kind(pulled, "evaluation")
    assert other.data.tags[model_runs.PARENT] == fold.info.run_id
    assert registry.trained_run(other).info.run_id == fold.info.run_id
    assert len(other.inputs.dataset_inputs) == inputs
    (parent,) = by_kind(pulled, folds.KIND)
    assert parent.data.metrics["test_accuracy"] == 0.8


@pytest.mark.full
def test_folds_that_end_at_once_share_one_run(pulled):
    """As DVC's queue runs them: in temporary workspaces below .dvc/tmp/exps, which share the store."""
    places = [pulled / f".dvc/tmp/exps/standalone/{number}" for number in (1, 2, 3)]
    for number, place in enumerate(places, start=1):
        ignored = shutil.ignore_patterns(".dvc", ".git")
        shutil.copytree(pulled, place, ignore=ignored, symlinks=True)
        trained(place, number, number / 10)
    program = [sys.executable, "-m", "stages.track"]
    for process in [subprocess.Popen(program, cwd=place) for place in places]:
        assert process.wait(timeout=200) == 0
    (parent,) = by_kind(pulled, folds.KIND)
    assert parent.data.metrics["folds"] == 3
    assert parent.data.metrics["test_accuracy"] == pytest.approx(0.2)
