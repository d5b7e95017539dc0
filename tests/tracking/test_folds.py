"""K-fold validation in MLflow: one run above the folds, which summarises them."""

import statistics

import mlflow
import pytest

from darkroom.commands import track
from darkroom.tracking import folds, pipeline_log, registry, run_text, tags
from darkroom.tracking import runs as model_runs
from darkroom.tracking.store import connect
from tests.helpers.processes import queued, together
from tests.helpers.project import set_param
from tests.helpers.tracking import change_evaluation, log_fold, runs, snapshot, train_fold


def test_folds_are_children_of_one_run_with_mean_and_spread(pulled):
    accuracies = [0.8, 0.9, 0.7]
    for fold, accuracy in enumerate(accuracies, start=1):
        log_fold(pulled, fold, accuracy)
    (parent,) = runs(pulled, folds.KIND)
    children = runs(pulled, "training")
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert [run.info.run_name for run in children] == [f"VGG16 block3_pool + dense, fold {k}" for k in (1, 2, 3)]
    assert parent.info.run_name == "VGG16 block3_pool + dense, 3-fold"
    assert parent.info.status == "FINISHED"
    metrics = parent.data.metrics
    assert metrics["folds"] == 3
    assert metrics["test_accuracy"] == pytest.approx(statistics.fmean(accuracies))
    assert metrics["test_accuracy_std"] == pytest.approx(statistics.stdev(accuracies))
    assert metrics["test_ece"] == pytest.approx(0.08)
    assert "final_val_log_loss_std" in metrics
    assert not [name for name in metrics if name.endswith(("_low", "_high", "_n"))]
    assert metrics.keys() <= {"folds"} | {f"{name}{end}" for name in children[0].data.metrics for end in ("", "_std")}
    shared = {key: value for key, value in children[0].data.params.items() if key != "split.fold"}
    assert parent.data.params == shared
    assert "3 of 3 folds are evaluated" in parent.data.tags[run_text.NOTE]

    before = snapshot(pulled)
    track.main()
    assert snapshot(pulled) == before


def test_a_fold_that_was_trained_twice_counts_once(pulled):
    log_fold(pulled, 1, 0.8)
    log_fold(pulled, 2, 0.6)
    log_fold(pulled, 1, 0.9, temperature=5.5)
    (parent,) = runs(pulled, folds.KIND)
    assert parent.data.metrics["folds"] == 2
    assert parent.data.metrics["test_accuracy"] == pytest.approx(0.75)
    train_fold(pulled, 2, 0.1, temperature=6.5)
    pipeline_log.log_training()  # not evaluated yet
    (parent,) = runs(pulled, folds.KIND)
    assert len(runs(pulled, "training")) == 4
    assert parent.data.metrics["test_accuracy"] == pytest.approx(0.75)


def test_other_settings_and_other_pictures_are_other_groups(pulled):
    log_fold(pulled, 1, 0.8)
    set_param(pulled, "export.check_pictures", 19)  # does not change the model
    log_fold(pulled, 2, 0.7)
    assert len(runs(pulled, folds.KIND)) == 1
    log_fold(pulled, 2, 0.7, epochs=5)
    lock = pulled / "dvc.lock"
    md5 = runs(pulled, "training")[0].data.tags["data.raw.md5"]
    lock.write_text(lock.read_text().replace(md5, f"{'0' * 32}.dir"))
    log_fold(pulled, 3, 0.6)
    assert [run.data.metrics["folds"] for run in runs(pulled, folds.KIND)] == [2, 1, 1]


def test_of_two_parents_the_older_stays(pulled):
    """Two machines that start at the same moment each create one."""
    log_fold(pulled, 1, 0.8)
    (first,) = runs(pulled, folds.KIND)
    client = mlflow.MlflowClient()
    twin = client.create_run(
        first.info.experiment_id,
        start_time=first.info.start_time + 1,
        tags={name: first.data.tags[name] for name in (tags.KIND, folds.GROUP)},
    )
    (child,) = runs(pulled, "training")
    client.set_tag(child.info.run_id, tags.PARENT, twin.info.run_id)
    log_fold(pulled, 2, 0.6)
    (parent,) = runs(pulled, folds.KIND)
    assert parent.info.run_id == first.info.run_id
    assert parent.data.metrics["test_accuracy"] == pytest.approx(0.7)
    assert {run.data.tags[tags.PARENT] for run in runs(pulled, "training")} == {parent.info.run_id}

    client.delete_run(parent.info.run_id)  # is created again
    log_fold(pulled, 3, 0.5)
    (parent,) = runs(pulled, folds.KIND)
    assert parent.data.metrics["folds"] == 3


def test_a_fold_below_another_run_stays_there(pulled):
    train_fold(pulled, 1, 0.8)
    with mlflow.start_run(experiment_id=connect(), run_name="sweep", tags={"kind": "sweep"}) as sweep:
        pass
    fold = model_runs.model_run()
    mlflow.MlflowClient().set_tag(fold.info.run_id, tags.PARENT, sweep.info.run_id)
    pipeline_log.log_evaluation()
    data = mlflow.get_run(fold.info.run_id).data
    assert data.tags[tags.PARENT] == sweep.info.run_id
    assert data.metrics["test_accuracy"] == 0.8
    assert not runs(pulled, folds.KIND)


def test_a_fold_is_a_training_and_keeps_its_evaluations(pulled):
    log_fold(pulled, 1, 0.8)
    (fold,) = runs(pulled, "training")
    assert registry.training_run_of(fold).info.run_id == fold.info.run_id
    assert registry.evaluation_run_of(fold).info.run_id == fold.info.run_id
    inputs = len(fold.inputs.dataset_inputs)
    change_evaluation(0.3)
    pipeline_log.log_evaluation()
    (child,) = runs(pulled, "evaluation")
    assert child.data.tags[tags.PARENT] == fold.info.run_id
    assert registry.training_run_of(child).info.run_id == fold.info.run_id
    assert len(child.inputs.dataset_inputs) == inputs
    (parent,) = runs(pulled, folds.KIND)
    assert parent.data.metrics["test_accuracy"] == 0.8


@pytest.mark.full
def test_folds_that_end_at_once_share_one_run(pulled):
    folders = queued(pulled, 3)
    for number, folder in enumerate(folders, start=1):
        train_fold(folder, number, number / 10)
    together(track.main, [(folder, ()) for folder in folders])
    (parent,) = runs(pulled, folds.KIND)
    assert parent.data.metrics["folds"] == 3
    assert parent.data.metrics["test_accuracy"] == pytest.approx(0.2)
