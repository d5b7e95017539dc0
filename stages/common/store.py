"""MLflow's store: where it is, reaching it, and what becomes of work when it is away."""

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.common import params, paths
from stages.common.errors import StageError
from stages.common.files import whole_folder


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

    for noisy in ("alembic", "mlflow.pyfunc", "mlflow.store.db.utils", "mlflow.system_metrics"):
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


def excused(write: Callable[[], Any]) -> bool:
    """Call `write`; where the store fails, say so in one line and go on, since files hold all that it would."""
    try:
        write()
    except Exception as error:  # whatever a store on a network may raise
        said = " ".join(str(error).split())[:200]
        print(f"MLflow: not written ({said}); later: python -m stages.track", flush=True)
        return False
    return True


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
        raise StageError(f"MLflow at {store()} does not give {address} ({said}).") from None
    return target
