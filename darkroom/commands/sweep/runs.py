"""A sweep in MLflow: one run, with a child run for each finished trial.

Everything written comes from the sweep's own file, so that what a failing store missed is written later. The runs are
of other kinds than a training's and hold no model, so that no command takes one for a model's run.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.commands.sweep.study import Sweep
from darkroom.pipeline import params
from darkroom.tracking import failures, names, tags

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SWEEP = "sweep"  # kind of the run, and its tag that identifies the sweep
TRIAL = "trial"  # kind of a child, and its tag with the number
STATE = "state"
METRICS_PER_CALL = 1000  # MLflow's limits
PARAMS_PER_CALL = 100
REMEDY = "run the same command again"


class Recorder:
    """Writes the runs of one sweep; after a failure it writes nothing until `close`."""

    def __init__(self, experiment: str, name: str, sweep: Sweep, settings: dict[str, Any]) -> None:
        """Find or create the sweep's run, and write the trials that it lacks.

        Args:
            experiment: MLflow's id of the experiment.
            name: of the sweep.
            sweep: identified in MLflow by its folder.
            settings: of the search, logged as params.
        """
        self.experiment, self.name, self.sweep, self.settings = experiment, name, sweep, settings
        self.run_id, self.connected = "", True
        self._try(self._start)

    def add(self, trial: "FrozenTrial") -> None:
        """Write a finished trial."""
        self._try(lambda: self._add(trial))

    def close(self, status: str, artifact: Path | None = None) -> None:
        """Write what is missing, the best trial's metrics and the recipe, and end the sweep's run.

        Args:
            status: MLflow's: FINISHED, FAILED or KILLED.
            artifact: the path of the recipe, if there is one.
        """
        self.connected = failures.best_effort(lambda: self._close(status, artifact), REMEDY)

    def _try(self, write: Callable[[], None]) -> None:
        self.connected = self.connected and failures.best_effort(write, REMEDY)

    def _start(self) -> None:
        import mlflow

        client = mlflow.MlflowClient()
        run_tags = {**tags.provenance(), tags.KIND: SWEEP, SWEEP: self.sweep.folder.name}
        query = f"tags.{tags.KIND} = '{SWEEP}' and tags.{SWEEP} = '{run_tags[SWEEP]}'"
        with self.sweep.lock:
            own = [
                run
                for run in client.search_runs([self.experiment], query)
                if run.data.tags.get(tags.WORKSPACE) == run_tags[tags.WORKSPACE]
            ]
            if own:
                self.run_id = own[0].info.run_id
                client.update_run(self.run_id, status="RUNNING")
            else:
                run = client.create_run(self.experiment, run_name=f"sweep {self.name}", tags=run_tags)
                self.run_id = run.info.run_id
                _log(self.run_id, {}, {**params.complete(params.load()), **self.settings})
            self._add_missing()

    def _add_missing(self) -> None:
        import mlflow

        client = mlflow.MlflowClient()
        written = set()
        query = f"tags.`{tags.PARENT}` = '{self.run_id}'"
        for run in client.search_runs([self.experiment], query, max_results=10_000):
            if run.info.status == "RUNNING":  # the process was killed while it wrote this run
                client.delete_run(run.info.run_id)
            else:
                written.add(run.data.tags[TRIAL])
        for trial in self.sweep.finished():
            if str(trial.number) not in written:
                self._add(trial)

    def _add(self, trial: "FrozenTrial") -> None:
        import mlflow

        client, attributes = mlflow.MlflowClient(), trial.user_attrs
        state = "failed" if "error" in attributes or trial.state.name == "FAIL" else trial.state.name.lower()
        run_tags = {tags.PARENT: self.run_id, tags.KIND: TRIAL, TRIAL: str(trial.number), STATE: state}
        run_tags |= {"error": attributes["error"]} if "error" in attributes else {}
        title = f"{self.name} {trial.number}: {trial.params.get('type', 'not chosen yet')}"
        start, end = (int(at.timestamp() * 1000) for at in (trial.datetime_start, trial.datetime_complete) if at)
        run_id = client.create_run(self.experiment, start, run_tags, title).info.run_id
        metrics = {**attributes.get("figures", {}), "train_seconds": attributes.get("seconds", 0.0)}
        _log(run_id, metrics, {"train": attributes.get("settings", {})}, attributes.get("curve", {}))
        client.set_terminated(run_id, "FAILED" if state == "failed" else "FINISHED", end)

    def _close(self, status: str, artifact: Path | None) -> None:
        import mlflow

        client = mlflow.MlflowClient()
        if self.run_id:
            with self.sweep.lock:
                self._add_missing()
        else:
            self._start()
        states = [trial.state.name for trial in self.sweep.finished()]
        counts = {f"trials_{name.lower()}": float(states.count(name)) for name in ("COMPLETE", "PRUNED", "FAIL")}
        best = self.sweep.ranked()[:1]
        figures = best[0].user_attrs["figures"] if best else {}
        _log(self.run_id, {**counts, **{f"best_{name}": value for name, value in figures.items()}}, {})
        if best:
            client.set_tag(self.run_id, "best_trial", str(best[0].number))
        if artifact:
            client.log_artifact(self.run_id, str(artifact))
        client.set_terminated(self.run_id, status)


def _log(
    run_id: str, metrics: dict[str, float], settings: dict[str, Any], curve: dict[str, list[float]] | None = None
) -> None:
    """Log params and metrics in a few calls, and a curve (name to a value for each epoch)."""
    import mlflow
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    points = [Metric(name, value, now, 0) for name, value in metrics.items()]
    for name, values in (curve or {}).items():
        points += [Metric(name, value, now, step) for step, value in enumerate(values, start=1)]
    entries = [Param(name, value) for name, value in names.logged(settings).items()]
    client = mlflow.MlflowClient()
    for start in range(0, len(entries), PARAMS_PER_CALL):
        client.log_batch(run_id, params=entries[start : start + PARAMS_PER_CALL])
    for start in range(0, len(points), METRICS_PER_CALL):
        client.log_batch(run_id, metrics=points[start : start + METRICS_PER_CALL])
