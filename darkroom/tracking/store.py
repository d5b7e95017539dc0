"""MLflow's store: where it is, connecting to it, and its errors."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from darkroom.core import paths
from darkroom.core.errors import UserError
from darkroom.core.files import whole_folder
from darkroom.core.secrets import redact
from darkroom.pipeline import params


def tracking_uri() -> str:
    """Where runs are recorded: `MLFLOW_TRACKING_URI`, or SQLite in the main repository's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _default_uri()


def _default_uri() -> str:
    return f"sqlite:///{paths.home() / 'mlflow.db'}"


def display_uri() -> str:
    """The store's address without credentials."""
    return redact(tracking_uri())


def one_line(error: Exception, length: int = 200) -> str:
    """An error's text on one line, shortened and without credentials."""
    return redact(" ".join(str(error).split()))[:length]


def is_server() -> bool:
    """Whether the store is an MLflow server."""
    return tracking_uri().startswith(("http:", "https:"))


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
    import requests
    from filelock import FileLock
    from mlflow.utils.credentials import get_default_host_creds

    for noisy in ("alembic", "mlflow.pyfunc", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)  # `best_effort` reports a store that is away
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # what it logs is raised, too
    name = params.current().tracking.experiment
    mlflow.set_tracking_uri(_without_credentials(tracking_uri()))
    paths.cache().mkdir(exist_ok=True)
    # Two processes that open an empty SQLite store at the same time would both create its tables.
    lock = FileLock(paths.cache() / "mlflow.lock") if tracking_uri().startswith("sqlite") else nullcontext()
    with lock, readable_errors():
        if is_server():
            # Fails within seconds, however long a busy server takes for its first real answer; needs no password.
            requests.get(f"{display_uri()}/health", timeout=5, verify=get_default_host_creds(display_uri()).verify)
        experiment = mlflow.get_experiment_by_name(name)
        if experiment:
            return str(experiment.experiment_id)
        # A server knows where artifacts go; SQLite alone would put them below the current folder.
        local = (paths.home() / "mlartifacts").as_uri() if tracking_uri() == _default_uri() else None
        try:
            return str(mlflow.create_experiment(name, artifact_location=local))
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                raise
            return str(mlflow.get_experiment_by_name(name).experiment_id)


def _without_credentials(address: str) -> str:
    """A server's address that MLflow may print; user name and password move to where MLflow looks for them."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.username:
        return address
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password or "")
    return redact(address)


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turn what a store raises into a UserError of one sentence."""
    from mlflow import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError, ImportError) as error:  # the last: a missing driver
        raise UserError(_explanation(error)) from None


def _explanation(error: Exception) -> str:
    """What is wrong with the store, and what to do."""
    import requests
    from mlflow.exceptions import MlflowException, RestException
    from mlflow.utils.credentials import read_mlflow_creds

    text, user = one_line(error, 300), read_mlflow_creds().username
    code, address = getattr(error, "error_code", ""), f"the MLflow store {display_uri()}"
    if not is_server():
        problem = "is not an address that MLflow supports" if "unsupported URI" in text else f"cannot be used ({text})"
        return f"{address} {problem}: set MLFLOW_TRACKING_URI to http://HOST:PORT, or unset it for a local file."
    cause = error.__context__ if isinstance(error, MlflowException) else error
    silent = isinstance(cause, requests.ConnectionError | requests.Timeout)
    if silent and not isinstance(cause, requests.exceptions.SSLError):
        return f"{address} does not answer: start it, or set or unset MLFLOW_TRACKING_URI."
    if code in ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"):
        problem = f"rejects user {user} with this password" if user else "requires a user name and a password"
        return f"{address} {problem}: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
    if "Invalid Host header" in text:
        return f"{address} does not accept this host name: add it to the server's --allowed-hosts."
    if code == "PERMISSION_DENIED":
        return f"{address} does not allow {user or 'you'} to write to the experiment: ask its administrator."
    if isinstance(error, RestException):
        return f"{address} refuses the request ({text})."
    return f"{address} does not answer like an MLflow server ({text}): set or unset MLFLOW_TRACKING_URI."


def best_effort(write: Callable[[], Any], remedy: str = "run `python -m darkroom track`") -> bool:
    """Call `write`; if the store fails, print one line and carry on, since the files hold all that it would.

    Args:
        write: writes to the store.
        remedy: how a person can have it written later.

    Returns:
        Whether it was written.
    """
    try:
        write()
    except Exception as error:  # whatever a store on a network may raise
        print(f"MLflow: not written ({one_line(error)}); to write it later, {remedy}.", flush=True)
        # From now on a store that does not answer is not waited for at every request.
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

    target = paths.cache() / "models" / hashlib.sha256(f"{tracking_uri()} {address}".encode()).hexdigest()[:24]
    try:
        # Downloaded every time: an alias may point to another version by now.
        with whole_folder(target) as folder:
            mlflow.artifacts.download_artifacts(address, dst_path=str(folder))
    except Exception as error:  # whatever a store on a network may raise
        raise UserError(f"{address} cannot be downloaded from MLflow at {display_uri()} ({one_line(error)}).") from None
    return target
