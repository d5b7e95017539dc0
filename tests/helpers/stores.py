"""Empty MLflow stores: MLflow takes seconds to create the tables of one, by all migrations since its first version."""

import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock


def new_store(path: Path) -> None:
    """Write an empty SQLite store, as a copy of one that is made once on this machine for this version of MLflow."""
    template = Path(tempfile.gettempdir()) / f"darkroom-{os.getuid()}-mlflow-{version('mlflow')}.db"
    with FileLock(f"{template}.lock"):
        if not template.exists():
            import mlflow

            partial = template.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            mlflow.MlflowClient(f"sqlite:///{partial}").search_experiments()
            partial.rename(template)
    shutil.copy(template, path)
