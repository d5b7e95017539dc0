"""Runs in MLflow: one for each trained model, found again by the model's SHA-256.

What is logged is read from the files that the stages wrote, so that a run can be written at any time later by
`python -m stages.track`, on another machine too, and writing it twice changes nothing. This module is never a
dependency of a stage: nothing in an output depends on it.
"""

import contextlib
import hashlib
import json
import logging
import os
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stages.common import classifier, params, paths
from stages.common.errors import StageError
from stages.common.files import read_csv, sha256, whole_folder, write_text

if TYPE_CHECKING:
    from mlflow.entities import Run

MODEL = "model_sha256"
WORKSPACE = "workspace"
KIND = "kind"
EVALUATION = "evaluation_sha256"
EXPORT = "export_sha256"
Log = Callable[[int, dict[str, float]], None]  # an epoch, from 1, and its metrics
DATASET_SPLITS = {"train": "training", "val": "validation", "test": "test"}


def default_store() -> str:
    """SQLite in the main repository's root."""
    return f"sqlite:///{paths.home() / 'mlflow.db'}"


def store() -> str:
    """Where runs are recorded: `MLFLOW_TRACKING_URI`, or the default store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or default_store()


def connect() -> str:
    """Reach the store and return the id of the experiment, which is made if it is not there.

    Raises:
        StageError: the store does not answer within seconds.
    """
    # MLflow's own patience (seven retries with growing pauses) would hold a stage up for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.pop("MLFLOW_RUN_ID", None)  # left over in a child process, it would make every run this one
    import mlflow
    from filelock import FileLock

    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.system_metrics"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    name = params.check(params.load())["tracking"].experiment  # type: ignore[attr-defined]
    mlflow.set_tracking_uri(store())
    paths.cache().mkdir(exist_ok=True)
    try:
        # Two processes that meet an empty SQLite store at the same time would both create its tables.
        with FileLock(paths.cache() / "mlflow.lock"):
            experiment = mlflow.get_experiment_by_name(name)
            if experiment is None:
                # A server knows where artifacts go; SQLite alone would put them below the current folder.
                local = (paths.home() / "mlartifacts").as_uri() if store() == default_store() else None
                return str(mlflow.create_experiment(name, artifact_location=local))
    except mlflow.MlflowException as error:
        said = " ".join(str(error).split())[:300]
        raise StageError(
            f"the MLflow store {store()} cannot be used ({said}): start it, or set or unset MLFLOW_TRACKING_URI."
        ) from None
    return str(experiment.experiment_id)


@contextlib.contextmanager
def training_run(known: Path) -> Iterator[Log]:
    """Open the run of a training, yield what logs an epoch's metrics to it, and at a good end add the model's files.

    A store that goes away meanwhile costs no work: the next stage, or `python -m stages.track`, writes the run anew.

    Args:
        known: a file that keeps the run's id until a good end, so that a training which was killed goes on in its run.

    Raises:
        StageError: the store cannot be reached before the work begins.
    """
    import mlflow

    experiment, logged = connect(), 0
    run = _interrupted(known, experiment)
    if run:
        mlflow.start_run(run_id=run.info.run_id, log_system_metrics=True)
        mlflow.set_tag("resumed", "true")
        logged = _last_epoch(run)
    else:
        run = mlflow.start_run(experiment_id=experiment, run_name=_run_name(), tags=_tags(), log_system_metrics=True)
        write_text(known, run.info.run_id)
    answers = excused(_log_inputs)

    def log(epoch: int, metrics: dict[str, float]) -> None:
        nonlocal answers
        if epoch > logged:
            answers = answers and excused(lambda: mlflow.log_metrics(metrics, step=epoch))

    status, started = "FAILED", time.monotonic()
    try:
        yield log
        status = "FINISHED"
        if answers:
            if not logged:  # of a training in two parts nobody knows how long the first one took
                excused(lambda: mlflow.log_metric("train_seconds", time.monotonic() - started))
            excused(_log_model)
    finally:
        excused(lambda: mlflow.end_run(status))
        if status == "FINISHED":
            known.unlink(missing_ok=True)


def _interrupted(known: Path, experiment: str) -> "Run | None":
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


def _last_epoch(run: "Run") -> int:
    """The last epoch that a run has; all metrics of an epoch are logged together."""
    import mlflow

    curve = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_loss")
    return max((point.step for point in curve), default=0)


def log_training() -> None:
    """Make the model's run from the files where the store does not know it."""
    _model_run()


def log_evaluation(seconds: float | None = None) -> None:
    """Add the evaluation that lies in reports/ to the model's run; to a child run if it holds another one already."""
    import mlflow

    def add() -> None:
        metrics = json.loads(paths.METRICS.read_text())
        mlflow.log_metrics({f"test_{name.removesuffix('_test')}": value for name, value in metrics.items()})
        for path in (paths.METRICS, paths.PER_CLASS, paths.PREDICTIONS, paths.REPORT):
            mlflow.log_artifact(str(path), "evaluation")
        mlflow.log_artifacts(str(paths.PLOTS), "evaluation/plots")
        _log_seconds("evaluate_seconds", seconds)

    _add_once(EVALUATION, [paths.METRICS, paths.PREDICTIONS, paths.REPORT], add)


def log_export(register: str | None, seconds: float | None = None) -> None:
    """Add the exported SavedModel with its signature to the model's run, and register it where a name is given."""
    import mlflow

    def add() -> None:
        import numpy as np
        import tensorflow as tf
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        from stages.common.saved_model import PixelsToProbabilities

        count = len(json.loads(paths.EXPORTED_CLASSES.read_text(encoding="utf-8")))
        pixels = TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))
        probabilities = TensorSpec(np.dtype(np.float32), (-1, count))
        logged = mlflow.tensorflow.log_model(
            PixelsToProbabilities(tf.saved_model.load(str(paths.SAVED_MODEL))),
            name="model",
            signature=ModelSignature(Schema([pixels]), Schema([probabilities])),
            registered_model_name=register,
            pip_requirements=[f"tensorflow=={tf.__version__}"],
            # With the files of models/ the model can be gone on from (see extract.weights).
            extra_files=[str(path) for path in sorted(paths.MODELS.iterdir())],
        )
        if register:
            client = mlflow.MlflowClient()
            client.set_registered_model_alias(register, "candidate", str(logged.registered_model_version))
        mlflow.log_artifact(str(paths.EXPORT_REPORT), "export")
        _log_seconds("export_seconds", seconds)

    _add_once(EXPORT, [paths.EXPORT_REPORT], add)


def download(address: str) -> Path:
    """The folder of a model in MLflow, copied below the cache.

    Raises:
        StageError: the store has no such model, or does not answer.
    """
    connect()
    import mlflow

    target = paths.cache() / "models" / hashlib.sha256(f"{store()} {address}".encode()).hexdigest()[:24]
    try:
        # A name's version or alias may have come to mean another model since the last time.
        with whole_folder(target) as folder:
            mlflow.artifacts.download_artifacts(address, dst_path=str(folder))
    except Exception as error:  # whatever a store on a network may raise
        said = " ".join(str(error).split())[:200]
        raise StageError(f"extract.weights: MLflow at {store()} does not give {address} ({said}).") from None
    return target


def _log_seconds(name: str, seconds: float | None) -> None:
    import mlflow

    if seconds is not None:
        mlflow.log_metric(name, seconds)


def _add_once(tag: str, files: list[Path], add: Callable[[], None]) -> None:
    """Call `add` inside the model's run unless the run holds just these files already; `tag` says which it holds."""
    import mlflow

    wanted = hashlib.sha256("".join(sha256(path) for path in files).encode()).hexdigest()
    run = _model_run()
    held = run.data.tags.get(tag)
    if held not in (None, wanted):
        run = _child(run, tag, wanted)
        held = run.data.tags.get(tag)
    if held != wanted:
        with mlflow.start_run(run_id=run.info.run_id):
            add()
            mlflow.set_tag(tag, wanted)


def _model_run() -> "Run":
    """The run of the model in models/, this workspace's own first; made from the files where no store knows it."""
    import mlflow

    experiment, wanted = connect(), classifier.digest(paths.MODELS)
    query = f"tags.{MODEL} = '{wanted}' and tags.{KIND} = 'training'"
    runs = mlflow.MlflowClient().search_runs([experiment], query, order_by=["attributes.start_time DESC"])
    own = [run for run in runs if run.data.tags.get(WORKSPACE) == str(Path.cwd())]
    if own or runs:
        return (own or runs)[0]
    with mlflow.start_run(experiment_id=experiment, run_name=_run_name(), tags={**_tags(), "replayed": "true"}) as run:
        _log_inputs()
        for row in read_csv(paths.HISTORY):
            epoch = int(row.pop("epoch"))
            mlflow.log_metrics({name: float(value) for name, value in row.items()}, step=epoch)
        _log_model()
    return mlflow.get_run(run.info.run_id)


def _child(parent: "Run", tag: str, wanted: str) -> "Run":
    """The child run of `parent` that holds `wanted`, or a new one."""
    import mlflow

    client = mlflow.MlflowClient()
    query = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}' and tags.{tag} = '{wanted}'"
    runs = client.search_runs([parent.info.experiment_id], query)
    if runs:
        return runs[0]
    tags = {**_tags(), "mlflow.parentRunId": parent.info.run_id, KIND: "evaluation"}
    name = f"{parent.info.run_name}, other {tag.removesuffix('_sha256')}"
    child = client.create_run(parent.info.experiment_id, run_name=name, tags=tags)
    return client.get_run(child.info.run_id)


def excused(write: Callable[[], Any]) -> bool:
    """Call `write`; where the store fails, say so in one line and go on, since files hold all that it would."""
    try:
        write()
    except Exception as error:  # whatever a store on a network may raise
        said = " ".join(str(error).split())[:200]
        print(f"MLflow: not written ({said}); later: python -m stages.track", flush=True)
        return False
    return True


def _log_inputs() -> None:
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


def _log_model() -> None:
    """What the training left in files, and the tag by which the run is found."""
    import mlflow

    for path in (paths.HISTORY, paths.TRAIN_REPORT, paths.MODEL_SUMMARY, paths.MODELS / classifier.SETTINGS):
        mlflow.log_artifact(str(path), "training")
    report = json.loads(paths.TRAIN_REPORT.read_text())
    mlflow.log_metrics({name: value for name, value in report.items() if isinstance(value, int | float)})
    mlflow.set_tags({"precision": report.get("precision", "float32"), MODEL: classifier.digest(paths.MODELS)})


def _run_name() -> str:
    """The DVC experiment's name, or what is trained."""
    content = params.load()
    train = content["train"]
    what = f"{content['extract']['backbone']} {train['mode']} {train['head']['type']}"
    if train["mode"] == "scratch":
        what = f"{train['network']} scratch"
    return os.environ.get("DVC_EXP_NAME") or what


def _tags() -> dict[str, str]:
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
