"""K-fold validation in MLflow: runs that differ only in `split.fold` are children of one run that summarises them."""

import hashlib
import json
import statistics
from typing import TYPE_CHECKING

from filelock import FileLock

from darkroom.core import paths
from darkroom.core.metric_table import HIGH, LOW
from darkroom.pipeline import params
from darkroom.tracking import run_text, tags

if TYPE_CHECKING:
    from mlflow.entities import Run

KIND = "folds"
GROUP = "folds_sha256"  # tag that all folds of the same settings and pictures share
FOLD = "split.fold"
DECISIVE = ("base.", "download.", "split.", "augment.", "extract.", "train.")  # params that determine a model
EVALUATED = "test_accuracy"
SUMMARISED = ("test_", "final_val_", "train_seconds")
NOT_SUMMARISED = (LOW, HIGH, "_n")
DIGITS = 8  # as in reports/metrics.json
SHOWN = (EVALUATED, "final_val_accuracy", "test_log_loss", "test_ece")
INHERITED = ("backbone", "mode", "recipe", "git_commit", tags.WORKSPACE, "mlflow.user", "mlflow.source.name")


def gather(run_id: str) -> None:
    """Make the training run of a fold a child of the run of all folds, creating and updating the latter.

    Doing it again changes nothing. If a fold was trained more than once, the newest evaluated run counts. A run that
    has another parent already (a sweep's) keeps it.
    """
    import mlflow

    run, client = mlflow.get_run(run_id), mlflow.MlflowClient()
    if run.data.params.get("split.method") != "kfold":
        return
    group = _group(run)
    # Folds may end at the same time. Those on other machines do not see this lock, so that there may be two parents:
    # the older one stays.
    with FileLock(paths.cache() / "folds.lock"):
        parents = _runs(run, group, KIND)
        if run.data.tags.get(tags.PARENT) not in (None, *(parent.info.run_id for parent in parents)):
            return
        client.set_tag(run_id, GROUP, group)
        active = [parent for parent in parents if parent.info.lifecycle_stage == "active"]
        parent, *duplicates = active or [_new_parent(run, group)]
        parent_ids = (None, *(candidate.info.run_id for candidate in (parent, *parents)))
        trained = [fold for fold in _runs(run, group, tags.TRAINING) if fold.info.lifecycle_stage == "active"]
        trained = [fold for fold in trained if fold.data.tags.get(tags.PARENT) in parent_ids]
        for fold in trained:
            if fold.data.tags.get(tags.PARENT) != parent.info.run_id:
                client.set_tag(fold.info.run_id, tags.PARENT, parent.info.run_id)
        for duplicate in duplicates:
            client.delete_run(duplicate.info.run_id)
        _summarise(parent, {fold.data.params[FOLD]: fold for fold in trained if EVALUATED in fold.data.metrics})


def _group(run: "Run") -> str:
    """A hash of the pictures and of all decisive params except the number of the fold."""
    settings = {name: value for name, value in run.data.params.items() if name.startswith(DECISIVE) and name != FOLD}
    data = run.data.tags.get("data.raw.md5", "")
    return hashlib.sha256(json.dumps([settings, data], sort_keys=True).encode()).hexdigest()


def _runs(run: "Run", group: str, kind: str) -> "list[Run]":
    """All runs of a kind in a group, deleted ones too, oldest first."""
    import mlflow
    from mlflow.entities import ViewType

    query = f"tags.{GROUP} = '{group}' and tags.{tags.KIND} = '{kind}'"
    runs = mlflow.MlflowClient().search_runs([run.info.experiment_id], query, ViewType.ALL)
    return sorted(runs, key=lambda member: (member.info.start_time, member.info.run_id))


def _new_parent(fold: "Run", group: str) -> "Run":
    """A run for all folds, with the params of one of them except its number."""
    import mlflow

    content, client = params.complete(params.load()), mlflow.MlflowClient()
    parent_tags = {name: value for name, value in fold.data.tags.items() if name in INHERITED}
    parent_tags |= {tags.KIND: KIND, GROUP: group}
    name = f"{run_text.model_name(content)}, {content['split']['folds']}-fold"
    run = client.create_run(fold.info.experiment_id, tags=parent_tags, run_name=name)
    mlflow.log_params({key: value for key, value in fold.data.params.items() if key != FOLD}, run_id=run.info.run_id)
    client.set_terminated(run.info.run_id)
    return client.get_run(run.info.run_id)


def _summarise(parent: "Run", folds: "dict[str, Run]") -> None:
    """Log mean and standard deviation of each metric over the folds; values that are logged already are left alone."""
    import mlflow

    summary: dict[str, float] = {"folds": len(folds)} if folds else {}
    for name in sorted({name for run in folds.values() for name in run.data.metrics}):
        values = [run.data.metrics[name] for _, run in sorted(folds.items()) if name in run.data.metrics]
        if name.startswith(SUMMARISED) and not name.endswith(NOT_SUMMARISED):
            summary[name] = round(statistics.fmean(values), DIGITS)
            if len(values) > 1:
                summary[f"{name}_std"] = round(statistics.stdev(values), DIGITS)
    run_id, logged = parent.info.run_id, parent.data
    if new := {name: value for name, value in summary.items() if logged.metrics.get(name) != value}:
        mlflow.log_metrics(new, run_id=run_id)
    note = _note(folds, summary, int(logged.params["split.folds"]))
    if logged.tags.get(run_text.NOTE) != note:
        mlflow.MlflowClient().set_tag(run_id, run_text.NOTE, note)


def _note(folds: "dict[str, Run]", summary: dict[str, float], total: int) -> str:
    """A table in Markdown: a row for each fold, and one for all of them."""
    rows = [["fold", *(name.replace("_", " ") for name in SHOWN)], ["---"] * (len(SHOWN) + 1)]
    for fold, run in sorted(folds.items(), key=lambda item: int(item[0])):
        link = f"[{fold}](#/experiments/{run.info.experiment_id}/runs/{run.info.run_id})"
        rows.append([link, *(f"{run.data.metrics[name]:.4f}" for name in SHOWN)])
    if len(folds) > 1:
        rows.append(["**mean, sd**", *(f"**{summary[name]:.4f}**, {summary[f'{name}_std']:.4f}" for name in SHOWN)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{len(folds)} of {total} folds are evaluated.\n\n{table}"
