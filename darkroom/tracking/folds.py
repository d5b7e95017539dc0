"""K-fold validation in MLflow: runs that differ in `split.fold` alone are children of one run, which sums them up."""

import hashlib
import json
import statistics
from typing import TYPE_CHECKING

from filelock import FileLock

from darkroom.core import paths
from darkroom.pipeline import params
from darkroom.tracking import run_text, runs

if TYPE_CHECKING:
    from mlflow.entities import Run

KIND = "folds"
GROUP = "folds_sha256"  # what all folds of the same settings and pictures have in common
FOLD = "split.fold"
DECIDE = ("base.", "download.", "split.", "augment.", "extract.", "train.")  # params that a model comes from
EVALUATED = "test_accuracy"
SUMMED_UP = ("test_", "final_val_", "train_seconds")
OF_ONE_FOLD = ("_low", "_high", "_n")
DIGITS = 8  # as in reports/metrics.json
SHOWN = (EVALUATED, "final_val_accuracy", "test_log_loss", "test_ece")
TAKEN_OVER = ("backbone", "mode", "recipe", "git_commit", runs.WORKSPACE, "mlflow.user", "mlflow.source.name")


def gather(run_id: str) -> None:
    """Put the training of a fold below the run of all folds, which is made if need be, and bring that one up to date.

    Doing it again changes nothing. A fold that was trained more than once counts once: the newest that was evaluated. A
    run that is below another one already (a sweep's) stays there.
    """
    import mlflow

    run, client = mlflow.get_run(run_id), mlflow.MlflowClient()
    if run.data.params.get("split.method") != "kfold":
        return
    group = _group(run)
    # Folds may end at the same time; on other machines, too, so that there may be two parents: the older one stays.
    with FileLock(paths.cache() / "folds.lock"):
        parents = _found(run, group, KIND)
        if run.data.tags.get(runs.PARENT) not in (None, *(one.info.run_id for one in parents)):
            return
        client.set_tag(run_id, GROUP, group)
        active = [one for one in parents if one.info.lifecycle_stage == "active"]
        parent, *doubles = active or [_made(run, group)]
        known = (None, *(one.info.run_id for one in (parent, *parents)))
        trained = [one for one in _found(run, group, "training") if one.info.lifecycle_stage == "active"]
        trained = [one for one in trained if one.data.tags.get(runs.PARENT) in known]
        for child in trained:
            if child.data.tags.get(runs.PARENT) != parent.info.run_id:
                client.set_tag(child.info.run_id, runs.PARENT, parent.info.run_id)
        for double in doubles:
            client.delete_run(double.info.run_id)
        _sum_up(parent, {one.data.params[FOLD]: one for one in trained if EVALUATED in one.data.metrics})


def _group(run: "Run") -> str:
    """The hash of the pictures and of all params that decide, but the fold's number."""
    settings = {name: value for name, value in run.data.params.items() if name.startswith(DECIDE) and name != FOLD}
    data = run.data.tags.get("data.raw.md5", "")
    return hashlib.sha256(json.dumps([settings, data], sort_keys=True).encode()).hexdigest()


def _found(run: "Run", group: str, kind: str) -> "list[Run]":
    """All runs of a kind in a group, deleted ones too, oldest first."""
    import mlflow
    from mlflow.entities import ViewType

    query = f"tags.{GROUP} = '{group}' and tags.{runs.KIND} = '{kind}'"
    found = mlflow.MlflowClient().search_runs([run.info.experiment_id], query, ViewType.ALL)
    return sorted(found, key=lambda one: (one.info.start_time, one.info.run_id))


def _made(fold: "Run", group: str) -> "Run":
    """The run of all folds, with all params of one of them but its number."""
    import mlflow

    content, client = params.complete(params.load()), mlflow.MlflowClient()
    tags = {name: value for name, value in fold.data.tags.items() if name in TAKEN_OVER}
    name = f"{run_text.trained(content)}, {content['split']['folds']}-fold"
    run = client.create_run(fold.info.experiment_id, tags=tags | {runs.KIND: KIND, GROUP: group}, run_name=name)
    mlflow.log_params({key: value for key, value in fold.data.params.items() if key != FOLD}, run_id=run.info.run_id)
    client.set_terminated(run.info.run_id)
    return client.get_run(run.info.run_id)


def _sum_up(parent: "Run", folds: "dict[str, Run]") -> None:
    """Mean and standard deviation over the folds of what each came to; nothing is written that is there already."""
    import mlflow

    now: dict[str, float] = {"folds": len(folds)} if folds else {}
    for name in sorted({name for run in folds.values() for name in run.data.metrics}):
        values = [run.data.metrics[name] for _, run in sorted(folds.items()) if name in run.data.metrics]
        if name.startswith(SUMMED_UP) and not name.endswith(OF_ONE_FOLD):
            now[name] = round(statistics.fmean(values), DIGITS)
            if len(values) > 1:
                now[f"{name}_std"] = round(statistics.stdev(values), DIGITS)
    run_id, held = parent.info.run_id, parent.data
    if new := {name: value for name, value in now.items() if held.metrics.get(name) != value}:
        mlflow.log_metrics(new, run_id=run_id)
    said = _note(folds, now, int(held.params["split.folds"]))
    if held.tags.get(run_text.NOTE) != said:
        mlflow.MlflowClient().set_tag(run_id, run_text.NOTE, said)


def _note(folds: "dict[str, Run]", means: dict[str, float], wanted: int) -> str:
    """A table in Markdown: each fold, and all together."""
    rows = [["fold", *(name.replace("_", " ") for name in SHOWN)], ["---"] * (len(SHOWN) + 1)]
    for fold, run in sorted(folds.items(), key=lambda item: int(item[0])):
        link = f"[{fold}](#/experiments/{run.info.experiment_id}/runs/{run.info.run_id})"
        rows.append([link, *(f"{run.data.metrics[name]:.4f}" for name in SHOWN)])
    if len(folds) > 1:
        rows.append(["**mean, sd**", *(f"**{means[name]:.4f}**, {means[f'{name}_std']:.4f}" for name in SHOWN)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{len(folds)} of {wanted} folds are evaluated.\n\n{table}"
