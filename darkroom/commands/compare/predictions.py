"""Test predictions of a model or a state of this project, from a file, git and DVC's cache, or MLflow."""

import re
from pathlib import Path

from darkroom.core.errors import UserError, is_of_the_machine
from darkroom.core.files import parse_csv
from darkroom.core.paths import PREDICTIONS
from darkroom.pipeline import dvc_state

WORKSPACE = "workspace"
MLFLOW_SCHEMES = ("models:/", "runs:/")
COLUMNS = ("label", "path", "predicted")
LABEL_PROBABILITY = "label_probability"  # a column that older files lack
Predictions = dict[str, dict[str, str]]  # path to the row of predictions.csv


def read(source: str) -> Predictions:
    """Read the predictions on the test split.

    Args:
        source: `workspace`, the path of a predictions.csv, a git revision or DVC experiment, an MLflow run id, or the
            address of a model in MLflow.

    Raises:
        UserError: the source does not exist or has no predictions.
    """
    try:
        rows, reason = parse_csv(text(source), COLUMNS), "it is empty"
    except ValueError as error:  # such as a model's file
        rows, reason = [], "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
    if not rows:
        raise UserError(f"{source} holds no predictions with the columns {', '.join(COLUMNS)} ({reason}).")
    return {row["path"]: row for row in rows}


def text(source: str) -> str:
    """The text of a predictions.csv."""
    path = PREDICTIONS if source == WORKSPACE else Path(source)
    if path.is_file():
        return path.read_text(encoding="utf-8")
    if source == WORKSPACE or path.suffix == ".csv":
        raise UserError(f"there is no {path}: run `dvc repro evaluate`, which writes {PREDICTIONS}.")
    if source.startswith(MLFLOW_SCHEMES) or re.fullmatch("[0-9a-f]{32}", source):
        return from_mlflow(source)
    return from_git(source)


def from_mlflow(source: str) -> str:
    """The predictions of a run in MLflow, or of the run that evaluated a model there."""
    import mlflow

    from darkroom.tracking import registry
    from darkroom.tracking.store import connect

    connect()
    is_model = source.startswith(MLFLOW_SCHEMES)
    run = registry.get_run(registry.source_run_id(source) if is_model else source)
    if is_model or not registry.has_evaluation(run):  # a run's own evaluation comes first if the run itself is named
        run = registry.evaluation_run_of(run)
    try:
        return str(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/evaluation/{PREDICTIONS.name}"))
    except Exception as error:  # whatever a store on a network may raise
        if is_of_the_machine(error):
            raise
        raise UserError(f"{source}: its run {run.info.run_id} in MLflow holds no {PREDICTIONS.name}.") from None


def from_git(revision: str) -> str:
    """The predictions of a git revision or a DVC experiment, from DVC's cache or remote."""
    dvc_state.repair()
    import dvc.api
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    try:
        return str(dvc.api.read(str(PREDICTIONS), rev=revision, encoding="utf-8"))
    except SCMError:
        raise UserError(
            f"{revision} is not a git revision or experiment, run id, model in MLflow, file, or `workspace`."
        ) from None
    except (DvcException, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{revision} has no {PREDICTIONS} here ({reason}): `dvc fetch` or `dvc exp pull` it.") from None
