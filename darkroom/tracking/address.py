"""Where the MLflow store is."""

import os
from pathlib import Path

from darkroom.core import paths
from darkroom.core.secrets import redact

SQLITE = "sqlite:///"


def tracking_uri() -> str:
    """Where runs are recorded: `MLFLOW_TRACKING_URI`, or SQLite in the main repository's root."""
    return own() if is_own() else os.environ["MLFLOW_TRACKING_URI"]


def own() -> str:
    """The address of the project's own database."""
    return paths.sqlite_address(_own_file())


def is_own() -> bool:
    """Whether the store is the project's own database, however it is addressed."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    return not given or given == own() or _file(given) == _own_file()


def database_file() -> Path | None:
    """The SQLite file of the store, if it is one."""
    return _own_file() if is_own() else _file(os.environ["MLFLOW_TRACKING_URI"])


def display_uri() -> str:
    """The store's address without credentials."""
    return redact(tracking_uri())


def is_server() -> bool:
    """Whether the store is an MLflow server."""
    return tracking_uri().startswith(("http:", "https:"))


def _own_file() -> Path:
    return paths.home() / "mlflow.db"


def _file(uri: str) -> Path | None:
    if not uri.startswith(SQLITE):
        return None
    return Path(os.path.abspath(uri.removeprefix(SQLITE).partition("?")[0]))  # noqa: PTH100 - a link is not resolved
