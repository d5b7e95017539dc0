"""Errors of an MLflow store: each cause with its own sentence and the remedy for it."""

import os
import re
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from darkroom.core import paths
from darkroom.core.errors import UserError, environment_sentence
from darkroom.core.secrets import redact
from darkroom.tracking import address, database

TRACK = "run `python -m darkroom track`"


def one_line(error: Exception, length: int = 200) -> str:
    """An error's text on one line, shortened and without credentials."""
    return redact(" ".join(str(error).split()))[:length]


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turn what a store raises into a UserError of one sentence."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or (sentence := explanation(error)) is None:
            raise
        raise UserError(sentence) from None


def best_effort(write: Callable[[], Any], remedy: str = TRACK) -> bool:
    """Call `write`; if it fails, print one line and carry on, since the files hold all that it would write.

    Args:
        write: writes to the store.
        remedy: how a person can have it written later, once the cause is removed.

    Returns:
        Whether it was written.
    """
    try:
        write()
    except Exception as error:  # whatever a store on a network, or a fault of ours, may raise
        sentence = str(error) if isinstance(error, UserError) else explanation(error)
        if sentence is None:
            print(f"MLflow: not written: {_fault(error)}", flush=True)
        else:
            print(f"MLflow: not written: {sentence.rstrip('.')}; then {remedy}, which writes it.", flush=True)
        # From now on a store that does not answer is not waited for at every request.
        os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
        return False
    return True


def insert(write: Callable[[], Any]) -> None:
    """Call `write` again if another process inserted the same between MLflow's check for it and its insertion."""
    from mlflow.exceptions import MlflowException

    try:
        write()
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        write()


def _fault(error: Exception) -> str:
    """Keep the traceback of an error that nobody foresaw, and name its file."""
    file = paths.cache() / "errors" / f"mlflow-{time.strftime('%Y-%m-%dT%H-%M-%S')}-{os.getpid()}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(redact("".join(traceback.format_exception(error))), encoding="utf-8")
    return f"a fault of this program ({type(error).__name__}: {one_line(error)}); please report it with {file}."


def explanation(error: Exception) -> str | None:
    """What is wrong with the store and what to do, or None if the error is not a store's."""
    if sentence := environment_sentence(error):
        return sentence
    if isinstance(error, ConnectionError):  # of a socket, or to the process that writes (see live_run)
        return f"the connection to the MLflow store {address.display_uri()} ended ({one_line(error)})."
    if "mlflow" not in sys.modules:  # whose import takes seconds
        return None
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    # The last: a missing driver of a database.
    if not isinstance(error, MlflowException | RequestException | SQLAlchemyError | ImportError):
        return None
    return _of_lifecycle(error) or (_of_server(error) if address.is_server() else _of_database(error))


def deleted(experiment: str, number: str) -> str:
    """The sentence on an experiment in MLflow's trash."""
    return (
        f"the experiment {experiment} was deleted in MLflow: restore it with `{_command('experiments restore')} "
        f"--experiment-id {number}`, or set tracking.experiment to another name."
    )


def _command(words: str) -> str:
    """A command of MLflow's for this store."""
    return f"MLFLOW_TRACKING_URI={shlex.quote(address.display_uri())} mlflow {words}"


def _of_lifecycle(error: Exception) -> str | None:
    """What was deleted while it is written to."""
    text = one_line(error, 1000)
    if match := re.search(
        r"run (\w+) must be in the 'active' state|run with ID=?'?(\w+)'? (?:not found|is deleted)", text, re.I
    ):
        run = match[1] or match[2]
        return f"the run {run} was deleted in MLflow: restore it with `{_command('runs restore')} --run-id {run}`."
    if match := re.search(r"experiment (\w+) must be in the 'active' state", text, re.IGNORECASE):
        return deleted(match[1], match[1])
    return None


def _of_database(error: Exception) -> str:
    """What is wrong with a database that MLflow opens itself."""
    text, place, file = one_line(error, 300), address.display_uri(), address.database_file()
    if "unsupported URI" in text:
        remedy = "set MLFLOW_TRACKING_URI to http://HOST:PORT, or unset it for a local file"
        return f"the MLflow store {place} is not an address that MLflow supports: {remedy}."
    if match := re.search(r"out-of-date database schema \(found version (\w+)", text):
        return _of_schema(match[1])
    if match := re.search(r"Can't locate revision identified by '(\w+)'", text):
        return _of_schema(match[1])
    if file and re.search("malformed|not a database|disk image", text):
        return database.damaged(file)
    if file and "locked" in text:
        return database.locked(file)
    if file and "readonly" in text:
        return f"MLflow's database {database.shown(file)} can only be read: `chmod u+w` it and its folder."
    if file and re.search("no such (table|column)", text):
        return _of_schema(None)
    if isinstance(error, ImportError):
        return f"the MLflow store {place} needs a package that is missing ({text}): install it into .venv."
    if re.search("connection refused|could not connect|could not translate host|timeout|unreachable", text, re.I):
        return f"the MLflow store {place} does not answer: start it, or set or unset MLFLOW_TRACKING_URI."
    return f"the MLflow store {place} refuses the request ({text})."


def _of_schema(found: str | None) -> str:
    """The tables of a database were made by another version of MLflow."""
    import mlflow
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    place, file = shlex.quote(address.display_uri()), address.database_file()
    known = {script.revision for script in ScriptDirectory.from_config(_get_alembic_config("")).walk_revisions()}
    copy = f"copy it (`cp {database.shown(file)} {database.shown(file)}.old`)" if file else "back it up"
    if found in known or found is None:
        problem, remedy = "an older", f"{copy}, then `mlflow db upgrade {place}`"
    else:
        problem = "a newer"
        remedy = f"use the MLflow that wrote it (`pip install --upgrade mlflow`; here is {mlflow.__version__})"
        if file:
            remedy += f", or move it away (`mv {database.shown(file)} {database.shown(file)}.old`); {database.ANEW}"
    return f"the MLflow store {address.display_uri()} was written by {problem} version of MLflow: {remedy}."


def _of_server(error: Exception) -> str:
    """What is wrong with a server."""
    import requests
    from mlflow.exceptions import MlflowException, RestException
    from mlflow.utils.credentials import read_mlflow_creds

    text, user = one_line(error, 300), read_mlflow_creds().username
    code, place = getattr(error, "error_code", ""), f"the MLflow store {address.display_uri()}"
    cause = error.__context__ if isinstance(error, MlflowException) else error
    silent = isinstance(cause, requests.ConnectionError | requests.Timeout)
    if silent and not isinstance(cause, requests.exceptions.SSLError):
        return f"{place} does not answer: start it, or set or unset MLFLOW_TRACKING_URI."
    if code in ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"):
        problem = f"rejects user {user} with this password" if user else "requires a user name and a password"
        return f"{place} {problem}: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
    if "Invalid Host header" in text:
        return f"{place} does not accept this host name: add it to the server's --allowed-hosts."
    if code == "PERMISSION_DENIED":
        return f"{place} does not allow {user or 'you'} to write to the experiment: ask its administrator."
    if code in ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR"):
        return f"{place} has a problem of its own ({text}): see its log."
    if isinstance(error, RestException):
        return f"{place} refuses the request ({text})."
    return f"{place} does not answer like an MLflow server ({text}): set or unset MLFLOW_TRACKING_URI."
