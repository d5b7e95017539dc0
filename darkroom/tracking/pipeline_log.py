"""What the stages tell MLflow: a training while it runs, then its evaluation and its export.

What is logged is read from the files that the stages wrote, so that a run can be written at any time later by
`python -m darkroom track`, on another machine too, and writing it twice changes nothing. This room is never a
dependency of a stage: nothing in an output depends on it.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.core import paths
from darkroom.core.errors import UserError
from darkroom.core.files import write_text
from darkroom.core.model_spec import model_sha256
from darkroom.tracking import folds, registry, run_text, runs
from darkroom.tracking.store import (
    answering,
    connect,
    excused,
)

if TYPE_CHECKING:
    from darkroom.train.result import Log

EXPORT = "export_sha256"
EVALUATED = (
    paths.METRICS,
    paths.PER_CLASS,
    paths.PREDICTIONS,
    paths.ROC,
    paths.PRECISION_RECALL,
    paths.RELIABILITY,
    paths.LABEL_ISSUES,
    paths.REPORT,
)
TELLS = [paths.METRICS, paths.PREDICTIONS, paths.REPORT]  # one evaluation from another
NOT_OF_TEST = ("label_issues", "temperature")


class OtherModelError(UserError):
    """What lies in reports/ or exports/ is not of the model in models/."""


@contextlib.contextmanager
def training_run(known: Path) -> Iterator["Log"]:
    """Open the run of a training, yield what logs an epoch's metrics to it, and at a good end add the model's files.

    A store that goes away meanwhile costs no work: what it missed is written at the end if it is back, else by the next
    stage or by `python -m darkroom track`.

    Args:
        known: a file that keeps the run's id until a good end, so that a training which was killed goes on in its run.

    Raises:
        UserError: the store cannot be reached or refuses before the work begins.
    """
    import mlflow

    experiment, logged, tags = connect(), 0, runs.origin()
    with answering():
        run = resumed = runs.interrupted(known, experiment)
        if run:
            mlflow.start_run(run_id=run.info.run_id, log_system_metrics=True)
            mlflow.set_tag("resumed", "true")
            logged = runs.last_epoch(run)
        else:
            name = run_text.title()
            run = mlflow.start_run(experiment_id=experiment, run_name=name, tags=tags, log_system_metrics=True)
    write_text(known, run.info.run_id)
    if answers := excused(runs.log_inputs):
        excused(lambda: folds.gather(run.info.run_id))

    def log(epoch: int, metrics: dict[str, float]) -> None:
        nonlocal answers
        if epoch > logged:
            answers = answers and excused(lambda: mlflow.log_metrics(metrics, step=epoch))

    def end() -> None:
        if not resumed:  # of a training in two parts nobody knows how long the first one took
            mlflow.log_metric("train_seconds", seconds)
        if answers and not resumed:
            runs.log_model()
        else:
            runs.write_training()

    status, started, seconds = "FAILED", time.monotonic(), 0.0
    try:
        yield log
        status, seconds = "FINISHED", time.monotonic() - started
        if not excused(end):
            write_text(runs.unfinished(), run.info.run_id)
    finally:
        excused(lambda: mlflow.end_run(status))
        if status == "FINISHED":
            known.unlink(missing_ok=True)


def log_training() -> None:
    """Make the model's run from the files where the store does not know it."""
    folds.gather(runs.model_run().info.run_id)


def log_evaluation(seconds: float | None = None) -> None:
    """Add the evaluation that lies in reports/ to the model's run; to a child run if it holds another one already.

    Raises:
        OtherModelError: it is of another model; nothing is written.
    """
    import mlflow

    _refuse_other(paths.METRICS, "the evaluation in reports/")

    def add() -> None:
        if runs.is_other(mlflow.active_run()):
            runs.log_data()  # what this evaluation was on; the model's run knows that of its training
        figures = json.loads(paths.METRICS.read_text())
        runs.describe(figures)
        del figures[runs.MODEL]
        mlflow.log_metrics({metric(name): value for name, value in figures.items()})
        for path in EVALUATED:
            mlflow.log_artifact(str(path), "evaluation")
        mlflow.log_artifacts(str(paths.PLOTS), "evaluation/plots")
        _log_seconds("evaluate_seconds", seconds)

    folds.gather(runs.add_once(runs.EVALUATION, TELLS, add).info.run_id)


def metric(name: str) -> str:
    """MLflow's name of a figure in reports/metrics.json: `final_train_accuracy`, `final_val_n`, `test_accuracy`."""
    if name in NOT_OF_TEST:
        return name
    stem, _, part = name.rpartition("_")
    return f"final_{part}_{stem}" if part in ("train", "val") else f"test_{name.removesuffix('_test')}"


def log_export(
    register: str | None, seconds: float | None = None, milliseconds: dict[str, float] | None = None
) -> None:
    """Add the exported model to the model's run so that MLflow can serve it, and register it where a name is given.

    Args:
        register: name in the model registry; the version that the run's model gets becomes its `candidate`.
        seconds: that the stage took.
        milliseconds: of each format, for one picture.

    Raises:
        OtherModelError: the export is of another model, and nothing is written; or the evaluation is, and nothing is
            registered, since a version is described by its figures.
    """
    import mlflow

    _refuse_other(paths.EXPORT_REPORT, "the export in exports/")

    def add() -> None:
        registry.log_served_model()
        report = json.loads(paths.EXPORT_REPORT.read_text())
        sizes = {kind: said["bytes"] for kind, said in report.items() if isinstance(said, dict)}
        mlflow.log_metrics({f"export_bytes_{kind}": size for kind, size in sizes.items()})
        mlflow.log_metrics({f"export_ms_{kind}": value for kind, value in (milliseconds or {}).items()})
        for path in (paths.EXPORT_REPORT, paths.MODEL_CARD):
            mlflow.log_artifact(str(path), "export")
        if _is_of_model(paths.METRICS):
            mlflow.set_tag(runs.EXPORTED_WITH, runs.fingerprint(TELLS))
        _log_seconds("export_seconds", seconds)

    run = runs.add_once(EXPORT, [paths.EXPORT_REPORT], add)
    if register:
        _refuse_other(paths.METRICS, f"the evaluation in reports/, which would describe it as {register},")
        registry.register(register, run)


def _is_of_model(report: Path) -> bool:
    """Whether a report is there and of the model in models/: a killed or partial `dvc repro` leaves older ones."""
    said = json.loads(report.read_text()).get(runs.MODEL) if report.exists() else None
    return bool(said == model_sha256(paths.MODELS))


def _refuse_other(report: Path, what: str) -> None:
    if not _is_of_model(report):
        raise OtherModelError(f"{what} is of another model: run `dvc repro`.")


def _log_seconds(name: str, seconds: float | None) -> None:
    import mlflow

    if seconds is not None:
        mlflow.log_metric(name, seconds)
