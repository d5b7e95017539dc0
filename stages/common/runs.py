"""Runs in MLflow: one for each trained model, found again by the model's SHA-256; what a run holds of its training."""

import hashlib
import json
import os
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from stages.common import classifier, params, paths
from stages.common.files import read_csv, sha256
from stages.common.store import connect, excused

if TYPE_CHECKING:
    from mlflow.entities import Run

MODEL = "model_sha256"
WORKSPACE = "workspace"
KIND = "kind"
DATASET_SPLITS = {"train": "training", "val": "validation", "test": "test"}


def add_once(tag: str, files: list[Path], add: Callable[[], None]) -> "Run":
    """Call `add` inside the model's run unless the run holds just these files already; `tag` says which it holds.

    Returns:
        The run that holds them: the model's, or a child of it where the model's held others.
    """
    import mlflow

    wanted = hashlib.sha256("".join(sha256(path) for path in files).encode()).hexdigest()
    run = model_run()
    held = run.data.tags.get(tag)
    if held not in (None, wanted):
        run = _child(run, tag, wanted)
        held = run.data.tags.get(tag)
    if held != wanted:
        with mlflow.start_run(run_id=run.info.run_id):
            add()
            mlflow.set_tag(tag, wanted)
    return run


def model_run() -> "Run":
    """The run of the model in models/, this workspace's own first; made from the files where no store knows it."""
    import mlflow

    experiment, wanted = connect(), classifier.digest(paths.MODELS)
    query = f"tags.{MODEL} = '{wanted}' and tags.{KIND} = 'training'"
    runs = mlflow.MlflowClient().search_runs([experiment], query, order_by=["attributes.start_time DESC"])
    own = [run for run in runs if run.data.tags.get(WORKSPACE) == str(Path.cwd())]
    if own or runs:
        return (own or runs)[0]
    with mlflow.start_run(experiment_id=experiment, run_name=title(), tags={**origin(), "replayed": "true"}) as run:
        log_inputs()
        for row in read_csv(paths.HISTORY):
            epoch = int(row.pop("epoch"))
            mlflow.log_metrics({name: float(value) for name, value in row.items()}, step=epoch)
        log_model()
    return mlflow.get_run(run.info.run_id)


def interrupted(known: Path, experiment: str) -> "Run | None":
    """The run whose id a file keeps, if the store has it, and other sections of the params are as they were too."""
    import mlflow

    if not known.exists():
        return None
    try:
        run = mlflow.get_run(known.read_text().strip())
    except mlflow.MlflowException:
        return None  # another store
    now = {name: str(value) for name, value in params.flat(params.load()).items()}
    if any(now.get(name) != value for name, value in run.data.params.items()):
        excused(lambda: mlflow.MlflowClient().set_terminated(run.info.run_id, "KILLED"))
        return None
    return run if run.info.experiment_id == experiment and run.info.lifecycle_stage == "active" else None


def last_epoch(run: "Run") -> int:
    """The last epoch that a run has; all metrics of an epoch are logged together."""
    import mlflow

    curve = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_loss")
    return max((point.step for point in curve), default=0)


def _child(parent: "Run", tag: str, wanted: str) -> "Run":
    """The child run of `parent` that holds `wanted`, or a new one."""
    import mlflow

    client = mlflow.MlflowClient()
    query = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}' and tags.{tag} = '{wanted}'"
    runs = client.search_runs([parent.info.experiment_id], query)
    if runs:
        return runs[0]
    tags = {**origin(), "mlflow.parentRunId": parent.info.run_id, KIND: "evaluation"}
    name = f"{parent.info.run_name}, other {tag.removesuffix('_sha256')}"
    child = client.create_run(parent.info.experiment_id, run_name=name, tags=tags)
    return client.get_run(child.info.run_id)


def log_inputs() -> None:
    """All params, flat, and the data set with the split of every picture."""
    import mlflow
    import pandas as pd

    mlflow.log_params(params.flat(params.load()))
    mlflow.log_artifact(str(paths.PARAMS))
    pictures = pd.read_csv(paths.SPLIT_REPORT)
    warnings.filterwarnings("ignore", message="The specified dataset source can be interpreted in multiple ways")
    for part, context in DATASET_SPLITS.items():
        rows = pictures[pictures["split"] == part].drop(columns="split")
        data = mlflow.data.from_pandas(rows, source=str(paths.SPLIT), targets="class", name=part)  # type: ignore[attr-defined]
        mlflow.log_input(data, context)


def log_model() -> None:
    """What the training left in files, and the tag by which the run is found."""
    import mlflow

    for path in (paths.HISTORY, paths.TRAIN_REPORT, paths.MODEL_SUMMARY, paths.MODELS / classifier.SETTINGS):
        mlflow.log_artifact(str(path), "training")
    report = json.loads(paths.TRAIN_REPORT.read_text())
    mlflow.log_metrics({name: value for name, value in report.items() if isinstance(value, int | float)})
    mlflow.set_tags({"precision": report.get("precision", "float32"), MODEL: classifier.digest(paths.MODELS)})


def title() -> str:
    """The DVC experiment's name, or what is trained."""
    content = params.load()
    train = content["train"]
    what = f"{content['extract']['backbone']} {train['mode']} {train['head']['type']}"
    if train["mode"] == "scratch":
        what = f"{train['network']} scratch"
    return os.environ.get("DVC_EXP_NAME") or what


def origin() -> dict[str, str]:
    """Where the run comes from: git commit, DVC experiment, workspace, and the md5 of each data set in dvc.lock."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], check=False, capture_output=True, text=True)
    tags = {KIND: "training", WORKSPACE: str(Path.cwd()), "git_commit": commit.stdout.strip() or "none"}
    if "DVC_EXP_NAME" in os.environ:
        tags["dvc_experiment"] = os.environ["DVC_EXP_NAME"]
    if Path("dvc.lock").exists():
        stages = yaml.safe_load(Path("dvc.lock").read_text()).get("stages", {})
        for stage in ("download", "split", "augment", "extract"):
            for out in stages.get(stage, {}).get("outs", []):
                if out["path"].startswith("data/"):
                    tags[f"{out['path'].replace('/', '.')}.md5"] = out["md5"]
    return tags
