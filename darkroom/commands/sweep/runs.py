"""A sweep in MLflow: one run, and below it one for each trial, written when the trial has ended.

All that is written is in the sweep's own file, so that what the store missed is written later. A trial's run is of
another kind than a training's and has no model, so that nothing takes it for a model's.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.commands.sweep.study import Trials
from darkroom.core.params import flat
from darkroom.pipeline import params
from darkroom.tracking import runs, store

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

KEY = "sweep"
TRIAL = "trial"
STATE = "state"
AT_ONCE = 1000  # figures that MLflow takes in one call
LATER = "the same command writes it"


class Record:
    """The runs of one sweep; after a call that failed it stays silent until `close`."""

    def __init__(self, experiment: str, name: str, trials: Trials, told: dict[str, Any]) -> None:
        """Find the sweep's run or begin it, and write the trials that it lacks.

        Args:
            experiment: MLflow's id of the experiment.
            name: of the sweep.
            trials: of this sweep, by whose folder its run is found again.
            told: what was searched, for people.
        """
        self.experiment, self.name, self.trials, self.told = experiment, name, trials, told
        self.run_id, self.answers = "", True
        self._write(self._begin)

    def add(self, trial: "FrozenTrial") -> None:
        """Write a trial that has ended."""
        self._write(lambda: self._add(trial))

    def close(self, status: str, artifact: Path | None = None) -> None:
        """Write what is missing, the best trial's figures, and the recipe; end the sweep's run.

        Args:
            status: MLflow's: FINISHED or KILLED.
            artifact: the path of the recipe, if there is one.
        """
        self.answers = store.excused(lambda: self._close(status, artifact), LATER)

    def _write(self, write: Callable[[], None]) -> None:
        self.answers = self.answers and store.excused(write, LATER)

    def _begin(self) -> None:
        import mlflow

        client = mlflow.MlflowClient()
        tags = {**runs.origin(), runs.KIND: "sweep", KEY: self.trials.folder.name}
        query = f"tags.{runs.KIND} = 'sweep' and tags.{KEY} = '{tags[KEY]}'"
        with self.trials.lock:
            found = [
                run
                for run in client.search_runs([self.experiment], query)
                if run.data.tags.get(runs.WORKSPACE) == tags[runs.WORKSPACE]
            ]
            if found:
                client.update_run(found[0].info.run_id, status="RUNNING")
                self.run_id = found[0].info.run_id
            else:
                self.run_id = client.create_run(self.experiment, run_name=f"sweep {self.name}", tags=tags).info.run_id
                self._log(self.run_id, {}, {**flat(params.complete(params.load())), **self.told})
            self._add_missing()

    def _add_missing(self) -> None:
        import mlflow

        client = mlflow.MlflowClient()
        held = set()
        query = f"tags.`{runs.PARENT}` = '{self.run_id}'"
        for run in client.search_runs([self.experiment], query, max_results=10_000):
            if run.info.status == "RUNNING":  # cut off while it was written
                client.delete_run(run.info.run_id)
            else:
                held.add(run.data.tags[TRIAL])
        for trial in self.trials.finished():
            if str(trial.number) not in held:
                self._add(trial)

    def _add(self, trial: "FrozenTrial") -> None:
        import mlflow

        client, said = mlflow.MlflowClient(), trial.user_attrs
        state = "failed" if "error" in said or trial.state.name == "FAIL" else trial.state.name.lower()
        tags = {runs.PARENT: self.run_id, runs.KIND: "trial", TRIAL: str(trial.number), STATE: state}
        tags |= {"error": said["error"]} if "error" in said else {}
        title = f"{self.name} {trial.number}: {trial.params.get('type', 'nothing yet')}"
        begun, ended = (int(at.timestamp() * 1000) for at in (trial.datetime_start, trial.datetime_complete) if at)
        run_id = client.create_run(self.experiment, begun, tags, title).info.run_id
        figures = {**said.get("figures", {}), "train_seconds": said.get("seconds", 0.0)}
        self._log(run_id, figures, flat({"train": said.get("settings", {})}), said.get("curve", {}))
        client.set_terminated(run_id, "FAILED" if state == "failed" else "FINISHED", ended)

    def _log(
        self, run_id: str, figures: dict[str, float], known: dict[str, Any], curve: dict[str, list[float]] | None = None
    ) -> None:
        import mlflow
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        points = [Metric(name, value, now, 0) for name, value in figures.items()]
        for name, values in (curve or {}).items():
            points += [Metric(name, value, now, step) for step, value in enumerate(values, start=1)]
        said = [Param(name, str(value)) for name, value in known.items()]
        client = mlflow.MlflowClient()
        for start in range(0, len(said), 100):
            client.log_batch(run_id, params=said[start : start + 100])
        for start in range(0, len(points), AT_ONCE):
            client.log_batch(run_id, metrics=points[start : start + AT_ONCE])

    def _close(self, status: str, artifact: Path | None) -> None:
        import mlflow

        client = mlflow.MlflowClient()
        if self.run_id:
            with self.trials.lock:
                self._add_missing()
        else:
            self._begin()
        states = [trial.state.name for trial in self.trials.finished()]
        counts = {f"trials_{name.lower()}": float(states.count(name)) for name in ("COMPLETE", "PRUNED", "FAIL")}
        best = self.trials.complete()[:1]
        figures = best[0].user_attrs["figures"] if best else {}
        self._log(self.run_id, {**counts, **{f"best_{name}": value for name, value in figures.items()}}, {})
        if best:
            client.set_tag(self.run_id, "best_trial", str(best[0].number))
        if artifact:
            client.log_artifact(self.run_id, str(artifact))
        client.set_terminated(self.run_id, status)
