"""The MLflow run of a training while it runs."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.core.files import write_text
from darkroom.tracking import folds, run_text, runs, tags, training_record
from darkroom.tracking.store import best_effort, connect, readable_errors

if TYPE_CHECKING:
    from darkroom.train.result import Log


@contextlib.contextmanager
def training_run(id_file: Path) -> Iterator["Log"]:
    """Open the run of a training, yield a function that logs an epoch's metrics, and at the end add the model's files.

    A store that goes away during training costs no work: what it missed is written at the end if it is back, otherwise
    by the next stage or by `python -m darkroom track`.

    Args:
        id_file: keeps the run's id until the training succeeds, so that a killed training is resumed in its run.

    Raises:
        UserError: the store cannot be reached, or refuses, before training starts.
    """
    import mlflow

    experiment, logged, new_tags = connect(), 0, tags.provenance()
    with readable_errors():
        run = resumed = runs.interrupted_run(id_file, experiment)
        if run:
            mlflow.start_run(run_id=run.info.run_id, log_system_metrics=True)
            mlflow.set_tag("resumed", "true")
            logged = training_record.last_epoch(run)
        else:
            name = run_text.title()
            run = mlflow.start_run(experiment_id=experiment, run_name=name, tags=new_tags, log_system_metrics=True)
    write_text(id_file, run.info.run_id)
    if connected := best_effort(training_record.log_inputs):
        best_effort(lambda: folds.gather(run.info.run_id))

    def log(epoch: int, metrics: dict[str, float]) -> None:
        nonlocal connected
        if epoch > logged:
            connected = connected and best_effort(lambda: mlflow.log_metrics(metrics, step=epoch))

    def end() -> None:
        if not resumed:  # how long the first part of a resumed training took is unknown
            mlflow.log_metric("train_seconds", seconds)
        if connected and not resumed:
            training_record.log_model()
        else:
            training_record.write_training()

    status, started, seconds = "FAILED", time.monotonic(), 0.0
    try:
        yield log
        status, seconds = "FINISHED", time.monotonic() - started
        if not best_effort(end):
            write_text(runs.incomplete_run_file(), run.info.run_id)
    finally:
        best_effort(lambda: mlflow.end_run(status))
        if status == "FINISHED":
            id_file.unlink(missing_ok=True)
