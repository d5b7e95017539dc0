"""Runs in MLflow: one for each trained model, found again by the model's SHA-256; what a run holds of its training."""

import hashlib
import json
import os
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from darkroom.core import paths
from darkroom.core.files import read_csv
from darkroom.core.hashing import sha256
from darkroom.core.model_spec import SPEC, model_sha256
from darkroom.core.params import flat
from darkroom.pipeline import params
from darkroom.tracking import run_text, views
from darkroom.tracking.store import connect, excused

if TYPE_CHECKING:
    from mlflow.entities import Run

MODEL = "model_sha256"
WORKSPACE = "workspace"
KIND = "kind"
OTHER = "evaluation"  # the kind of a child of a model's run, which holds another evaluation or export
PARENT = "mlflow.parentRunId"
SPLIT_MD5 = "data.split.md5"
EVALUATION = "evaluation_sha256"  # the evaluation that a run holds
EXPORTED_WITH = "exported_with_evaluation_sha256"  # the one that lay beside the export that a run holds
FOR = "for_"  # before a tag's name: what a run was made to hold, whether or not that came to an end
DATASET_SPLITS = {"train": "training", "val": "validation", "test": "test"}


def add_once(tag: str, files: list[Path], add: Callable[[], None]) -> "Run":
    """Call `add` inside the model's run unless the run holds just these files already; `tag` says which it holds.

    Returns:
        The run that holds them: the model's, or a child of it where the model's held others.
    """
    import mlflow

    wanted = fingerprint(files)
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


def fingerprint(files: list[Path]) -> str:
    """One SHA-256 of the contents of files, in this order."""
    return hashlib.sha256("".join(sha256(path) for path in files).encode()).hexdigest()


def model_run() -> "Run":
    """The run of the model in models/, this workspace's own first; made from the files where no store knows it."""
    experiment, wanted = connect(), model_sha256(paths.MODELS)
    own, others = _training_runs(experiment, MODEL, wanted)
    if own or others:
        return (own or others)[0]
    return _replayed(experiment, wanted)


def _training_runs(experiment: str, tag: str, value: str) -> "tuple[list[Run], list[Run]]":
    """The runs of trainings that have a tag, newest first: this workspace's own, and the others."""
    import mlflow

    query = f"tags.{tag} = '{value}' and tags.{KIND} = 'training'"
    found = mlflow.MlflowClient().search_runs([experiment], query, order_by=["attributes.start_time DESC"])
    own = [run for run in found if run.data.tags.get(WORKSPACE) == str(Path.cwd())]
    return own, [run for run in found if run not in own]


def _replayed(experiment: str, model: str) -> "Run":
    """The run of a training from its files; one that the store lost sight of, or a failed attempt, is gone on with."""
    import mlflow

    cut_off = interrupted(unfinished(), experiment)
    begun = [cut_off] if cut_off else _training_runs(experiment, FOR + MODEL, model)[0]
    run_id = next((run.info.run_id for run in begun if _same_params(run)), None)
    tags = {**origin(), "replayed": "true", FOR + MODEL: model}
    with mlflow.start_run(run_id=run_id, experiment_id=experiment, run_name=run_text.title(), tags=tags) as run:
        write_training()
    unfinished().unlink(missing_ok=True)
    return mlflow.get_run(run.info.run_id)


def unfinished() -> Path:
    """The file that keeps the id of the run in which the training of the model in models/ was to be written whole."""
    return paths.cache() / "unfinished" / model_sha256(paths.MODELS)


def write_training() -> None:
    """Write into the open run what the files hold of a training; of its curves, the epochs that it does not have."""
    import mlflow

    log_inputs()
    there = _epochs(mlflow.active_run())
    for row in read_csv(paths.HISTORY):
        epoch = int(row.pop("epoch"))
        if epoch not in there:
            mlflow.log_metrics({name: float(value) for name, value in row.items()}, step=epoch)
    log_model()


def interrupted(known: Path, experiment: str) -> "Run | None":
    """The run whose id a file keeps, if the store has it, and other sections of the params are as they were too."""
    import mlflow

    if not known.exists():
        return None
    try:
        run = mlflow.get_run(known.read_text().strip())
    except mlflow.MlflowException:
        return None  # another store
    if not _same_params(run):
        excused(lambda: mlflow.MlflowClient().set_terminated(run.info.run_id, "KILLED"))
        return None
    return run if run.info.experiment_id == experiment and run.info.lifecycle_stage == "active" else None


def _same_params(run: "Run") -> bool:
    """Whether the params that a run has are those of now: MLflow refuses to change any."""
    now = {name: str(value) for name, value in flat(params.complete(params.load())).items()}
    return all(now.get(name) == value for name, value in run.data.params.items())


def last_epoch(run: "Run") -> int:
    """The last epoch that a run has."""
    return max(_epochs(run), default=0)


def _epochs(run: "Run") -> set[int]:
    """The epochs that a run has; all metrics of an epoch are logged together."""
    import mlflow

    return {point.step for point in mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_loss")}


def _child(parent: "Run", tag: str, wanted: str) -> "Run":
    """The child run of `parent` that holds `wanted` or was made to, or a new one."""
    import mlflow

    client = mlflow.MlflowClient()
    for run in children(parent):
        if wanted in (run.data.tags.get(tag), run.data.tags.get(FOR + tag)):
            return run
    tags = {**origin(), PARENT: parent.info.run_id, KIND: OTHER, FOR + tag: wanted}
    name = f"{parent.info.run_name}, other {tag.removesuffix('_sha256')}"
    child = client.create_run(parent.info.experiment_id, run_name=name, tags=tags)
    return client.get_run(child.info.run_id)


def is_other(run: "Run") -> bool:
    """Whether this is a child of a model's run; a model's run may have a parent, too, such as that of all folds."""
    return bool(run.data.tags.get(KIND) == OTHER)


def children(parent: "Run") -> "list[Run]":
    """The runs below a run."""
    import mlflow

    query = f"tags.`{PARENT}` = '{parent.info.run_id}'"
    return list(mlflow.MlflowClient().search_runs([parent.info.experiment_id], query))


def log_inputs() -> None:
    """All params, flat, the data set, and a description; and the view of them on MLflow's page."""
    import mlflow

    views.offer(mlflow.active_run().info.experiment_id)
    mlflow.log_params(flat(params.complete(params.load())))
    mlflow.log_artifact(str(paths.PARAMS))
    log_data()
    describe()


def log_data() -> None:
    """The data set with the split of every picture."""
    import mlflow
    import pandas as pd

    pictures = pd.read_csv(paths.SPLIT_REPORT)
    warnings.filterwarnings("ignore", message="The specified dataset source can be interpreted in multiple ways")
    for part, context in DATASET_SPLITS.items():
        rows = pictures[pictures["split"] == part].drop(columns="split")
        data = mlflow.data.from_pandas(rows, source=str(paths.SPLIT), targets="class", name=part)  # type: ignore[attr-defined]
        try:
            mlflow.log_input(data, context)
        except mlflow.MlflowException as error:
            if error.error_code != "BAD_REQUEST":
                raise
            # Another run logged the same data set just now, and MLflow's look whether it is there was too early.
            mlflow.log_input(data, context)


def log_model() -> None:
    """What the training left in files, and the tag by which the run is found."""
    import mlflow

    for path in (paths.HISTORY, paths.TRAIN_REPORT, paths.MODEL_SUMMARY, paths.MODELS / SPEC):
        mlflow.log_artifact(str(path), "training")
    report = json.loads(paths.TRAIN_REPORT.read_text())
    mlflow.log_metrics({name: value for name, value in report.items() if isinstance(value, int | float)})
    mlflow.set_tags({"precision": report.get("precision", "float32"), MODEL: model_sha256(paths.MODELS)})


def describe(figures: dict[str, Any] | None = None) -> None:
    """Give the open run its description; with the figures of its evaluation, where there is one."""
    import mlflow

    mlflow.set_tag(run_text.NOTE, run_text.note(figures, mlflow.active_run().data.tags))


def origin() -> dict[str, str]:
    """Where the run comes from: columns, git commit, DVC experiment, workspace, md5 of each data set in dvc.lock."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], check=False, capture_output=True, text=True)
    tags = {KIND: "training", WORKSPACE: str(Path.cwd()), "git_commit": commit.stdout.strip() or "none"}
    tags |= run_text.columns()
    if "DVC_EXP_NAME" in os.environ:
        tags["dvc_experiment"] = os.environ["DVC_EXP_NAME"]
    if Path("dvc.lock").exists():
        stages = yaml.safe_load(Path("dvc.lock").read_text()).get("stages", {})
        for stage in ("download", "split", "augment", "extract"):
            for out in stages.get(stage, {}).get("outs", []):
                if out["path"].startswith("data/"):
                    tags[f"{out['path'].replace('/', '.')}.md5"] = out["md5"]
    return tags
