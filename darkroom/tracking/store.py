"""Connecting to MLflow's store, and downloads from it."""

import functools
import hashlib
import logging
import os
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from darkroom.core import paths
from darkroom.core.errors import UserError, is_of_the_machine
from darkroom.core.files import whole_folder
from darkroom.core.secrets import redact
from darkroom.pipeline import params
from darkroom.tracking import database
from darkroom.tracking.address import database_file, display_uri, is_own, is_server, tracking_uri
from darkroom.tracking.failures import deleted, one_line, readable_errors


def connect() -> str:
    """Connect to the store and return the id of the experiment, which is created if need be.

    Raises:
        UserError: the store does not answer within seconds, or refuses.
    """
    # By default MLflow retries seven times with growing pauses, which would hold a stage up for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.pop("MLFLOW_RUN_ID", None)  # a child process that inherits it would write into its parent's run
    import mlflow

    for noisy in ("alembic", "mlflow.pyfunc"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)  # `best_effort` reports a store that is away
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # what it logs is raised, too
    name, file = params.current().tracking.experiment, database_file()
    paths.cache().mkdir(exist_ok=True)
    # Two processes that open an empty SQLite store at the same time would both create its tables.
    lock = FileLock(paths.cache() / "mlflow.lock") if file else nullcontext()
    with lock, readable_errors():
        if file:
            _prepare(file, is_own())
        own_address = tracking_uri() if is_own() else ""
        mlflow.set_tracking_uri(_without_credentials(tracking_uri()))
        if own_address:
            os.environ.pop("MLFLOW_TRACKING_URI", None)  # it may be relative, and processes elsewhere would inherit it
        if is_server():
            _require_server()
        else:
            from mlflow.store.db import utils

            utils.MAX_RETRY_COUNT = 3  # by default it would try for 100 s
        return _experiment(name)


def _experiment(name: str) -> str:
    """The id of the experiment, which is created if need be."""
    import mlflow

    # A server knows where artifacts go; SQLite alone would put them below the current folder.
    local = (paths.home() / database.ARTIFACTS).as_uri() if is_own() else None
    if mlflow.get_experiment_by_name(name) is None:
        try:
            mlflow.create_experiment(name, artifact_location=local)
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                raise
    experiment = mlflow.get_experiment_by_name(name)
    if experiment.lifecycle_stage != "active":
        raise UserError(deleted(name, experiment.experiment_id))
    return str(experiment.experiment_id)


@functools.cache
def _prepare(file: Path, own: bool) -> None:
    """Check a database once in this process, and move the addresses of the project's own with the project."""
    database.check(file)
    if own:
        database.relocate(file)


def _require_server() -> None:
    """Fail within seconds, however long a busy server takes for its first real answer; needs no password."""
    import requests
    from mlflow.utils.credentials import get_default_host_creds

    requests.get(f"{display_uri()}/health", timeout=5, verify=get_default_host_creds(display_uri()).verify)


def _without_credentials(address: str) -> str:
    """A server's address that MLflow may print; user name and password move to where MLflow looks for them."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise UserError(f"MLFLOW_TRACKING_URI is not an address ({error}): correct or unset it.") from None
    if parts.scheme not in ("http", "https") or not parts.username:
        return address
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password or "")
    return redact(address)


def download(address: str) -> Path:
    """The folder of a model in MLflow, copied below the cache.

    Raises:
        UserError: the store has no such model, or does not answer.
    """
    connect()
    import mlflow

    target = paths.cache() / "models" / hashlib.sha256(f"{tracking_uri()} {address}".encode()).hexdigest()[:24]
    try:
        # Downloaded every time: an alias may point to another version by now.
        with whole_folder(target) as folder:
            mlflow.artifacts.download_artifacts(address, dst_path=str(folder))
    except Exception as error:  # whatever a store on a network may raise
        if is_of_the_machine(error):
            raise
        raise UserError(f"{address} cannot be downloaded from MLflow at {display_uri()} ({one_line(error)}).") from None
    return target
