"""The trials of a sweep, stored by Optuna in SQLite: several processes may work on them, and any may be killed.

A trial's settings are a function of the seed and of the finished trials. So a sweep in one process that was killed
resumes as if it had not been: the unfinished trial is marked as failed and tried again.
"""

import contextlib
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from darkroom.commands.sweep import search
from darkroom.core import paths, seeds
from darkroom.core.partial_files import remove

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial, TrialState

RANDOM_TRIALS = 10  # drawn at random after the first of each type of head, before the sampler learns from results
FREE_EPOCHS = 4  # of every dense head; from then on it is pruned if it is worse than the median …
PEERS = 5  # … of the trials that were trained as long, if there are at least so many
WORKER = "worker"  # attribute of a trial: the process that works on it
LOCK_SECONDS = 60  # to wait while another process writes


class Sweep:
    """The trials in a folder; the process that opened them counts as alive until it ends, for whatever reason."""

    def __init__(self, folder: Path, head_types: Sequence[str], seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder, self.head_types, self.seed = folder, list(head_types), seed
        self.lock = FileLock(folder / "sweep.lock")
        self.worker = uuid.uuid4().hex
        self.alive = FileLock(self._worker_lock(self.worker))
        with self.lock:  # two processes at once would both create the tables
            self.alive.acquire()
            set_aside_damaged(folder / "trials.db")
            url, timeout = paths.sqlite_address(folder / "trials.db"), {"connect_args": {"timeout": LOCK_SECONDS}}
            storage = optuna.storages.RDBStorage(url, engine_kwargs=timeout)
            pruner = optuna.pruners.MedianPruner(n_startup_trials=PEERS, n_warmup_steps=FREE_EPOCHS, n_min_trials=PEERS)
            self.study: Study = optuna.create_study(
                storage=storage, study_name="sweep", pruner=pruner, load_if_exists=True
            )
            self._fail_abandoned()
            for path in folder.glob("worker-*.lock"):
                if not _is_held(path):
                    path.unlink()

    def start(self, total: int) -> "tuple[Trial, dict[str, Any]] | None":
        """Start a trial.

        Returns:
            The trial and its settings for section `train`; None if there are `total` already, running ones included.
        """
        import optuna

        with self.lock:
            self._fail_abandoned()
            number = len(self.counted())
            if number >= total:
                return None
            self.study.sampler = optuna.samplers.TPESampler(
                seed=seeds.derive(self.seed, "sweep", number), n_startup_trials=len(self.head_types) + RANDOM_TRIALS
            )
            waiting = self._trials("WAITING")
            if number < len(self.head_types) and not waiting:  # a killed process may have left one waiting
                self.study.enqueue_trial(search.first(self.head_types[number]))
            trial = self.study.ask()
            trial.set_user_attr(WORKER, self.worker)
            return trial, search.drawn(trial, self.head_types)

    @contextlib.contextmanager
    def finishing(self, trial: "Trial", value: float | None, attributes: dict[str, Any]) -> "Iterator[FrozenTrial]":
        """Finish a trial and yield it; until the block ends no other process starts or finishes one.

        Args:
            trial: from `start`.
            value: what is minimised; None for a head of a kind that the sampler should avoid.
            attributes: what else is stored, for JSON.
        """
        with self.lock:
            for name, attribute in attributes.items():
                trial.set_user_attr(name, attribute)
            yield self.study.tell(trial, value, state=_state("PRUNED" if value is None else "COMPLETE"))

    def counted(self) -> "list[FrozenTrial]":
        """The trials that are finished or running; not the abandoned ones, which are tried again."""
        return self._trials("COMPLETE", "PRUNED", "RUNNING")

    def finished(self) -> "list[FrozenTrial]":
        """The trials that have ended, whatever the outcome."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.is_finished()]

    def ranked(self) -> "list[FrozenTrial]":
        """The trials with a value, best first."""
        return sorted(self._trials("COMPLETE"), key=lambda trial: (trial.value or 0.0, trial.number))

    def pruned(self) -> "list[FrozenTrial]":
        """The trials that were pruned or could not be trained."""
        return self._trials("PRUNED")

    def importance(self, head_type: str) -> dict[str, float]:
        """How much each setting of a type of head decides whether it is among the best, in shares of 1.

        By PED-ANOVA (Watanabe et al., 2023), for settings that all heads of the type have; empty if fewer than ten of
        them have a value.
        """
        import optuna

        trials = [trial for trial in self.ranked() if trial.params["type"] == head_type]
        if len(trials) < 10:
            return {}
        study = optuna.create_study()
        study.add_trials(trials)
        shares = optuna.importance.get_param_importances(study)
        return {name.partition(".")[2]: share for name, share in shares.items() if name != "type"}

    def _trials(self, *states: str) -> "list[FrozenTrial]":
        return self.study.get_trials(deepcopy=False, states=tuple(map(_state, states)))

    def _fail_abandoned(self) -> None:
        """Mark the trials that killed processes left running as failed."""
        for trial in self._trials("RUNNING"):
            worker = trial.user_attrs.get(WORKER)  # set before a process releases the lock
            if worker is None or not _is_held(self._worker_lock(worker)):
                self.study.tell(trial.number, state=_state("FAIL"))

    def _worker_lock(self, worker: str) -> Path:
        return self.folder / f"worker-{worker}.lock"


def set_aside_damaged(database: Path) -> None:
    """Rename a database that is none any more, and say so: the sweep then begins again."""
    if not database.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=LOCK_SECONDS)) as connection:
            intact = connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",)
    except sqlite3.OperationalError:  # it is a folder, or cannot be read
        intact = not database.is_dir()
    except sqlite3.DatabaseError:
        intact = False
    if not intact:
        damaged = database.with_name(f"{database.name}.damaged")
        remove(damaged)
        database.rename(damaged)
        for name in ("-wal", "-shm", "-journal"):
            database.with_name(database.name + name).unlink(missing_ok=True)
        print(f"sweep: {database} is damaged: it is now {damaged.name}, and the sweep begins again", flush=True)


def _is_held(lock: Path) -> bool:
    """Whether a process holds a lock."""
    try:
        with FileLock(lock).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _state(name: str) -> "TrialState":
    from optuna.trial import TrialState

    return TrialState[name]
