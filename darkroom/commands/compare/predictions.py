"""The test predictions of a state of this project, wherever they lie: a file, git and DVC's cache, or MLflow."""

import csv
import io
import re
from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.core.paths import PREDICTIONS

WORKSPACE = "workspace"
IN_MLFLOW = ("models:/", "runs:/")
COLUMNS = {"path", "label", "predicted"}
Rows = dict[str, dict[str, str]]  # path to the row of predictions.csv


def read(source: str) -> Rows:
    """What was predicted for each test picture.

    Args:
        source: `workspace`, the path of a predictions.csv, a git revision or DVC experiment, an MLflow run id, or the
            address of a model in MLflow.

    Raises:
        UserError: there are none.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(text(source))))
    except (UnicodeDecodeError, csv.Error):  # such as a model's file
        rows = []
    if not rows or not rows[0].keys() >= COLUMNS:
        raise UserError(f"{source}: these are no predictions with the columns {', '.join(sorted(COLUMNS))}.")
    return {row["path"]: row for row in rows}


def text(source: str) -> str:
    """The text of a predictions.csv."""
    path = PREDICTIONS if source == WORKSPACE else Path(source)
    if path.is_file():
        return path.read_text(encoding="utf-8")
    if source == WORKSPACE or path.suffix == ".csv":
        raise UserError(f"there is no {path}: run `dvc repro evaluate`, which makes {PREDICTIONS}.")
    if source.startswith(IN_MLFLOW) or re.fullmatch("[0-9a-f]{32}", source):
        return logged(source)
    return committed(source)


def logged(source: str) -> str:
    """The predictions of a run in MLflow, or of the run that a model comes from."""
    import mlflow

    from darkroom.tracking import registry
    from darkroom.tracking.store import connect

    connect()
    of_model = source.startswith(IN_MLFLOW)
    run = registry.run_of(registry.logged_by(source) if of_model else source)
    if of_model or not registry.holds_evaluation(run):  # whoever names a run means what lies in it
        run = registry.evaluated_run(run)
    try:
        return str(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/evaluation/{PREDICTIONS.name}"))
    except Exception:  # whatever a store on a network may raise
        raise UserError(f"{source}: its run {run.info.run_id} in MLflow holds no {PREDICTIONS.name}.") from None


def committed(revision: str) -> str:
    """The predictions of a git revision or a DVC experiment, from DVC's cache or remote."""
    import dvc.api
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    try:
        return str(dvc.api.read(str(PREDICTIONS), rev=revision, encoding="utf-8"))
    except SCMError:
        raise UserError(
            f"{revision} is no git revision or experiment, run id, model in MLflow, file, or `workspace`."
        ) from None
    except (DvcException, OSError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"{revision} has no {PREDICTIONS} here ({said}): `dvc fetch` or `dvc exp pull` it.") from None
