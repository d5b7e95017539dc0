"""The trials of a sweep, kept by Optuna in SQLite: several processes may work on them, and any may be killed.

Which settings a trial gets is a function of the seed and of the trials that are finished, so that a sweep of one
process which was killed goes on as if it had not been: the half trial is left aside, and tried again.
"""

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from darkroom.commands.sweep import search
from darkroom.core import seeds

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial, TrialState

FIRST = 10  # trials that are drawn at random, after one of each type of head, before the sampler learns from them
FREE = 4  # epochs that every dense head gets; then it is given up where it is worse than …
PEERS = 5  # … the median of those that were as long trained, if there are so many
WORKER = "worker"  # what a trial is tagged with: the process that works on it
BUSY = 60  # seconds to wait while another process writes


class Trials:
    """The trials in a folder; the process that has them open counts as alive until it ends, however it does."""

    def __init__(self, folder: Path, kinds: Sequence[str], seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder, self.kinds, self.seed = folder, list(kinds), seed
        self.lock = FileLock(folder / "sweep.lock")
        self.worker = uuid.uuid4().hex
        self.alive = FileLock(self._of(self.worker))
        with self.lock:  # two processes at once would both create the tables
            self.alive.acquire()
            url, patience = f"sqlite:///{folder / 'trials.db'}", {"connect_args": {"timeout": BUSY}}
            storage = optuna.storages.RDBStorage(url, engine_kwargs=patience)
            pruner = optuna.pruners.MedianPruner(n_startup_trials=PEERS, n_warmup_steps=FREE, n_min_trials=PEERS)
            self.study: Study = optuna.create_study(
                storage=storage, study_name="sweep", pruner=pruner, load_if_exists=True
            )
            self._leave_aside()
            for path in folder.glob("worker-*.lock"):
                if not self._lives(path):
                    path.unlink()

    def begin(self, total: int) -> "tuple[Trial, dict[str, Any]] | None":
        """A new trial with its settings for section `train`; None where there are, with those at work, `total`."""
        import optuna

        with self.lock:
            self._leave_aside()
            number = len(self.counted())
            if number >= total:
                return None
            self.study.sampler = optuna.samplers.TPESampler(
                seed=seeds.derive(self.seed, "sweep", number), n_startup_trials=len(self.kinds) + FIRST
            )
            waiting = self.study.get_trials(deepcopy=False, states=(_state("WAITING"),))
            if number < len(self.kinds) and not waiting:  # what waits already was left by a process that was killed
                self.study.enqueue_trial(search.usual(self.kinds[number]))
            trial = self.study.ask()
            trial.set_user_attr(WORKER, self.worker)
            return trial, search.drawn(trial, self.kinds)

    @contextlib.contextmanager
    def ending(self, trial: "Trial", value: float | None, known: dict[str, Any]) -> "Iterator[FrozenTrial]":
        """Keep what a trial came to and yield it; until the block's end no other process begins or ends one.

        Args:
            trial: that `begin` gave.
            value: the figure that counts; None for a head that the sampler had better keep away from.
            known: what else is known, for JSON.
        """
        with self.lock:
            for name, one in known.items():
                trial.set_user_attr(name, one)
            yield self.study.tell(trial, value, state=_state("PRUNED" if value is None else "COMPLETE"))

    def counted(self) -> "list[FrozenTrial]":
        """The trials that are finished or at work; not those that were cut off, which are tried again."""
        states = tuple(map(_state, ("COMPLETE", "PRUNED", "RUNNING")))
        return self.study.get_trials(deepcopy=False, states=states)

    def finished(self) -> "list[FrozenTrial]":
        """The trials that have ended, however they did."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.is_finished()]

    def complete(self) -> "list[FrozenTrial]":
        """The trials that came to a figure, the best first."""
        done = self.study.get_trials(deepcopy=False, states=(_state("COMPLETE"),))
        return sorted(done, key=lambda trial: (trial.value or 0.0, trial.number))

    def pruned(self) -> "list[FrozenTrial]":
        """The trials that were given up, or could not be trained."""
        return self.study.get_trials(deepcopy=False, states=(_state("PRUNED"),))

    def importance(self, kind: str) -> dict[str, float]:
        """How much each setting of a type of head decides whether it is among the best (shares of 1).

        By PED-ANOVA (Watanabe et al., 2023), for settings that all heads of the type have; empty where fewer than ten
        of them came to a figure.
        """
        import optuna

        its = [trial for trial in self.complete() if trial.params["type"] == kind]
        if len(its) < 10:
            return {}
        alone = optuna.create_study()
        alone.add_trials(its)
        shares = optuna.importance.get_param_importances(alone)
        return {name.partition(".")[2]: share for name, share in shares.items() if name != "type"}

    def _leave_aside(self) -> None:
        """What processes that were killed had begun counts as failed."""
        for trial in self.study.get_trials(deepcopy=False, states=(_state("RUNNING"),)):
            worker = trial.user_attrs.get(WORKER)  # a process names itself before it lets go of the lock
            if worker is None or not self._lives(self._of(worker)):
                self.study.tell(trial.number, state=_state("FAIL"))

    def _lives(self, worker: Path) -> bool:
        try:
            with FileLock(worker).acquire(timeout=0):
                return False
        except Timeout:
            return True

    def _of(self, worker: str) -> Path:
        return self.folder / f"worker-{worker}.lock"


def _state(name: str) -> "TrialState":
    from optuna.trial import TrialState

    return TrialState[name]
