"""The MLflow run of a training while it runs."""

import atexit
import contextlib
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.core.errors import UserError, environment_sentence
from darkroom.core.files import write_text
from darkroom.tracking import folds, run_text, runs, tags, training_record
from darkroom.tracking.failures import best_effort, readable_errors
from darkroom.tracking.store import connect

if TYPE_CHECKING:
    from darkroom.train.result import Log

Epoch = tuple[int, dict[str, float]]  # number and metrics


class LiveRun:
    """Keeps a training's run in a process of its own, which imports MLflow while this one imports TensorFlow.

    Where MLflow is imported already, there is no other process.
    """

    def __init__(self) -> None:
        self.process = None
        if "mlflow" not in sys.modules:
            spawn = multiprocessing.get_context("spawn")  # TensorFlow's threads do not survive a fork
            self.connection, other_end = spawn.Pipe()
            self.process = spawn.Process(target=_record, args=(other_end,))
            self.process.start()
            other_end.close()  # else neither process would notice the end of the other
            atexit.register(self.close)

    @contextlib.contextmanager
    def open(self, id_file: Path) -> Iterator["Log"]:
        """Open the run as `training_run` does.

        Raises:
            UserError: the other process cannot reach the store, or was killed, before training starts.
        """
        if not self.process:
            with training_run(id_file) as log:
                yield log
            return
        try:
            self._begin(id_file)
            connected = True

            def send(message: Epoch | None) -> None:
                nonlocal connected
                connected = connected and best_effort(lambda: self.connection.send(message))

            yield lambda epoch, metrics: send((epoch, metrics))
            send(None)
        finally:
            self.close()
        if self.process.exitcode and id_file.exists():  # it was killed, so the next stage writes what the run lacks
            write_text(runs.incomplete_run_file(), id_file.read_text())

    def _begin(self, id_file: Path) -> None:
        try:
            self.connection.send(id_file)
            error = self.connection.recv()
        except (OSError, EOFError):
            error = UserError("the process that writes to MLflow ended before training began: free memory, try again.")
        if error:
            raise error

    def close(self) -> None:
        """End the other process; without a None before, the training has failed."""
        if self.process:
            self.connection.close()
            self.process.join()


def _record(connection: Connection) -> None:
    """Record the training of another process: the file of the run's id, then epochs, and None after the last."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the training, and that ends this process
    with contextlib.suppress(UserError, OSError):
        connect()
    try:
        with training_run(connection.recv()) as log:
            connection.send(None)
            while epoch := connection.recv():
                log(*epoch)
    except UserError as error:
        connection.send(error)
    except EOFError:
        pass  # the training failed or was killed, and so says its run
    except Exception as error:
        if (sentence := environment_sentence(error)) is None:
            raise
        connection.send(UserError(sentence))


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
