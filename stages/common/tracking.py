"""What the stages tell MLflow: a training while it runs, then its evaluation and its export.

What is logged is read from the files that the stages wrote, so that a run can be written at any time later by
`python -m stages.track`, on another machine too, and writing it twice changes nothing. This module and those that only
it imports are never a dependency of a stage: nothing in an output depends on them.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from stages.common import paths, registry, runs
from stages.common.files import write_text
from stages.common.store import connect
from stages.common.store import download as download  # for stages, which import no other module of tracking
from stages.common.store import excused as excused

EVALUATION = "evaluation_sha256"
EXPORT = "export_sha256"
Log = Callable[[int, dict[str, float]], None]  # an epoch, from 1, and its metrics
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


@contextlib.contextmanager
def training_run(known: Path) -> Iterator[Log]:
    """Open the run of a training, yield what logs an epoch's metrics to it, and at a good end add the model's files.

    A store that goes away meanwhile costs no work: the next stage, or `python -m stages.track`, writes the run anew.

    Args:
        known: a file that keeps the run's id until a good end, so that a training which was killed goes on in its run.

    Raises:
        StageError: the store cannot be reached before the work begins.
    """
    import mlflow

    experiment, logged = connect(), 0
    run = runs.interrupted(known, experiment)
    if run:
        mlflow.start_run(run_id=run.info.run_id, log_system_metrics=True)
        mlflow.set_tag("resumed", "true")
        logged = runs.last_epoch(run)
    else:
        run = mlflow.start_run(
            experiment_id=experiment, run_name=runs.title(), tags=runs.origin(), log_system_metrics=True
        )
        write_text(known, run.info.run_id)
    answers = excused(runs.log_inputs)

    def log(epoch: int, metrics: dict[str, float]) -> None:
        nonlocal answers
        if epoch > logged:
            answers = answers and excused(lambda: mlflow.log_metrics(metrics, step=epoch))

    status, started = "FAILED", time.monotonic()
    try:
        yield log
        status = "FINISHED"
        if answers:
            if not logged:  # of a training in two parts nobody knows how long the first one took
                excused(lambda: mlflow.log_metric("train_seconds", time.monotonic() - started))
            excused(runs.log_model)
    finally:
        excused(lambda: mlflow.end_run(status))
        if status == "FINISHED":
            known.unlink(missing_ok=True)


def log_training() -> None:
    """Make the model's run from the files where the store does not know it."""
    runs.model_run()


def log_evaluation(seconds: float | None = None) -> None:
    """Add the evaluation that lies in reports/ to the model's run; to a child run if it holds another one already."""
    import mlflow

    def add() -> None:
        figures = json.loads(paths.METRICS.read_text())
        mlflow.log_metrics({metric(name): value for name, value in figures.items()})
        for path in EVALUATED:
            mlflow.log_artifact(str(path), "evaluation")
        mlflow.log_artifacts(str(paths.PLOTS), "evaluation/plots")
        _log_seconds("evaluate_seconds", seconds)

    runs.add_once(EVALUATION, [paths.METRICS, paths.PREDICTIONS, paths.REPORT], add)


def metric(name: str) -> str:
    """MLflow's name of a figure in reports/metrics.json: `final_train_accuracy`, `final_val_n`, `test_accuracy`."""
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
    """
    import mlflow

    def add() -> None:
        registry.log_served_model()
        report = json.loads(paths.EXPORT_REPORT.read_text())
        sizes = {kind: said["bytes"] for kind, said in report.items() if isinstance(said, dict)}
        mlflow.log_metrics({f"export_bytes_{kind}": size for kind, size in sizes.items()})
        mlflow.log_metrics({f"export_ms_{kind}": value for kind, value in (milliseconds or {}).items()})
        for path in (paths.EXPORT_REPORT, paths.MODEL_CARD):
            mlflow.log_artifact(str(path), "export")
        _log_seconds("export_seconds", seconds)

    run = runs.add_once(EXPORT, [paths.EXPORT_REPORT], add)
    if register:
        registry.register(register, run)


def _log_seconds(name: str, seconds: float | None) -> None:
    import mlflow

    if seconds is not None:
        mlflow.log_metric(name, seconds)
