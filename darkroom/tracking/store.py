"""MLflow's store: where it is, reaching it, and what becomes of work when it is away."""

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from darkroom.core import paths
from darkroom.core.errors import UserError
from darkroom.core.files import whole_folder
from darkroom.pipeline import params


def default_store() -> str:
    """SQLite in the main repository's root."""
    return f"sqlite:///{paths.home() / 'mlflow.db'}"


def store() -> str:
    """Where runs are recorded: `MLFLOW_TRACKING_URI`, or the default store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or default_store()


def public(text: str | None = None) -> str:
    """A text without the name and the password that may be in an address in it; without a text, the store's address."""
    return re.sub(r"(?<=://)\S*@|(?<=password=)[^&\s]*", "", store() if text is None else text)


def connect() -> str:
    """Reach the store and return the id of the experiment, which is made if it is not there.

    Raises:
        UserError: the store does not answer within seconds, or refuses.
    """
    # MLflow's own patience (seven retries with growing pauses) would hold a stage up for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.pop("MLFLOW_RUN_ID", None)  # left over in a child process, it would make every run this one
    import mlflow
    import requests
    from filelock import FileLock
    from mlflow.utils.credentials import get_default_host_creds

    for noisy in ("alembic", "mlflow.pyfunc", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)  # `excused` says that a store is away
    name = params.current().tracking.experiment
    mlflow.set_tracking_uri(_without_credentials(store()))
    paths.cache().mkdir(exist_ok=True)
    # Two processes that meet an empty SQLite store at the same time would both create its tables.
    with FileLock(paths.cache() / "mlflow.lock") if store().startswith("sqlite") else nullcontext(), answering():
        if is_server():
            # Known in seconds, however long a first real answer takes a busy server; it needs no password.
            requests.get(f"{public()}/health", timeout=5, verify=get_default_host_creds(public()).verify)
        experiment = mlflow.get_experiment_by_name(name)
        if experiment:
            return str(experiment.experiment_id)
        # A server knows where artifacts go; SQLite alone would put them below the current folder.
        local = (paths.home() / "mlartifacts").as_uri() if store() == default_store() else None
        try:
            return str(mlflow.create_experiment(name, artifact_location=local))
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # somebody else was quicker
                raise
            return str(mlflow.get_experiment_by_name(name).experiment_id)


def is_server() -> bool:
    """Whether the store is an MLflow server."""
    return store().startswith(("http:", "https:"))


def _without_credentials(address: str) -> str:
    """A server's address as MLflow may print it; name and password go where MLflow looks for them."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.username:
        return address
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password or "")
    return public(address)


@contextmanager
def answering() -> Iterator[None]:
    """Tell what a store raises in one sentence, as a UserError."""
    from mlflow import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError, ImportError) as error:  # the last: a driver is missing
        raise UserError(_told(error)) from None


def _told(error: Exception) -> str:
    """What is wrong with the store, and what to do."""
    import requests
    from mlflow.exceptions import MlflowException, RestException
    from mlflow.utils.credentials import read_mlflow_creds

    said, user = public(" ".join(str(error).split()))[:300], read_mlflow_creds().username
    code, address = getattr(error, "error_code", ""), f"the MLflow store {public()}"
    if not is_server():
        wrong = "has no address that MLflow knows" if "unsupported URI" in said else f"cannot be used ({said})"
        return f"{address} {wrong}: MLFLOW_TRACKING_URI is to be http://HOST:PORT, or unset for the SQLite file here."
    reason = error.__context__ if isinstance(error, MlflowException) else error
    silent = isinstance(reason, requests.ConnectionError | requests.Timeout)
    if silent and not isinstance(reason, requests.exceptions.SSLError):
        return f"{address} does not answer: start it, or set or unset MLFLOW_TRACKING_URI."
    if code in ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"):
        refused = f"does not take the name {user} with this password" if user else "wants a name and a password"
        return f"{address} {refused}: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
    if "Invalid Host header" in said:
        return f"{address} does not answer to this name: start it with the name in --allowed-hosts."
    if code == "PERMISSION_DENIED":
        return f"{address} does not let {user or 'you'} write the experiment: ask who administers it."
    if isinstance(error, RestException):
        return f"{address} refuses ({said})."
    return f"{address} does not answer as an MLflow server does ({said}): set or unset MLFLOW_TRACKING_URI."


def excused(write: Callable[[], Any], later: str = "python -m darkroom track") -> bool:
    """Call `write`; where the store fails, say so in one line and go on, since files hold all that it would.

    Args:
        write: what writes to the store.
        later: what a person can do to have it written after all.
    """
    try:
        write()
    except Exception as error:  # whatever a store on a network may raise
        said = public(" ".join(str(error).split()))[:200]
        print(f"MLflow: not written ({said}); later: {later}", flush=True)
        # What follows is short: a store that does not answer is waited for once, not at every request.
        os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
        return False
    return True


def download(address: str) -> Path:
    """The folder of a model in MLflow, copied below the cache.

    Raises:
        UserError: the store has no such model, or does not answer.
    """
    connect()
    import mlflow

    target = paths.cache() / "models" / hashlib.sha256(f"{store()} {address}".encode()).hexdigest()[:24]
    try:
        # A name's version or alias may have come to mean another model since the last time.
        with whole_folder(target) as folder:
            mlflow.artifacts.download_artifacts(address, dst_path=str(folder))
    except Exception as error:  # whatever a store on a network may raise
        said = public(" ".join(str(error).split()))[:200]
        raise UserError(f"MLflow at {public()} does not give {address} ({said}).") from None
    return target
