"""The chunks that a Ray cluster is working on, in order."""

import contextlib
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from darkroom.core.errors import UserError

AHEAD, MOST_AHEAD = 2, 32  # chunks for each process that are sent, and that are held, at most
RETRIES = 5  # of a chunk whose process or machine is lost
SECONDS = 10.0  # between two looks at the cluster
LATE = 60.0  # seconds that a chunk may take longer than others before another process gets it, too


class _Chunk(NamedTuple):
    items: Any  # a reference to them
    copies: dict[Any, float]  # references to results, one for each process that was given the items, and since when


class Window:
    """The chunks that a cluster works on, and those whose results wait for an earlier one.

    Ray gives a chunk to another process if its process or machine is lost. One that takes very long is given to another
    as well, and the first result counts: the backup tasks of MapReduce (Dean and Ghemawat 2004).
    """

    def __init__(self, task: Any, call: Sequence[Any], threads: int, workers: int | None) -> None:
        """Send nothing yet.

        Args:
            task: a remote function.
            call: its first arguments; a chunk's items follow them.
            threads: that it uses.
            workers: the most chunks at a time; None: as many as there is room for.
        """
        self._task, self._call, self._threads, self._workers = task, call, threads, workers
        self._running: set[Any] = set()  # references
        self._longest = 0.0  # seconds that a chunk took
        self._places, self._cpus = 1, 1  # processes for which there is room, and what each takes
        self._seen = -SECONDS
        self.chunks: deque[_Chunk] = deque()

    def __enter__(self) -> "Window":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._cancel(self._running)

    def has_room(self) -> bool:
        """Whether another chunk may be sent."""
        self._look()
        most = self._workers or AHEAD * self._places
        return len(self._running) < most and len(self.chunks) < MOST_AHEAD * self._places

    def send(self, items: Sequence[Any]) -> None:
        """Give a chunk to the cluster."""
        # Pickled, since Ray would unpickle arguments before the process knows where the project's code is.
        self.chunks.append(_Chunk(ray.put(ray.cloudpickle.dumps(items)), {}))
        self._begin(self.chunks[-1])

    def first_is_done(self) -> bool:
        """Whether the results of the first chunk are there."""
        return bool(self.chunks[0].copies.keys() - self._running)

    def pop(self) -> Any:
        """The results of the first chunk, which is done.

        Raises:
            UserError: its processes were killed again and again.
            Exception: what the function raised.
        """
        copies = self.chunks.popleft().copies
        reference = next(reference for reference in copies if reference not in self._running)
        self._longest = max(self._longest, time.monotonic() - copies[reference])
        self._cancel(self._running & copies.keys())
        self._running -= copies.keys()
        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.ObjectLostError):
            raise UserError(
                "processes of the cluster were killed again and again, probably for lack of memory: "
                "close other programs, or set compute.workers to fewer than the cluster has CPUs."
            ) from None

    def wait(self) -> None:
        """Wait until a chunk is done, or for some seconds; give the first one to another process if it is late."""
        if time.monotonic() - max(self.chunks[0].copies.values()) > LATE + self._longest:
            self._begin(self.chunks[0])
        finished, _ = ray.wait(list(self._running), timeout=SECONDS)
        self._running.difference_update(finished)
        self._look()

    def _begin(self, chunk: _Chunk) -> None:
        options: dict[str, Any] = {"num_cpus": self._cpus, "max_retries": RETRIES}
        if chunk.copies:  # on this machine, if the cluster may use it: this one is known to be alive
            here = ray.get_runtime_context().get_node_id()
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(here, soft=True)
        reference = self._task.options(**options).remote(*self._call, chunk.items)
        chunk.copies[reference] = time.monotonic()
        self._running.add(reference)

    def _look(self) -> None:
        """See how large the cluster is, which may grow and shrink."""
        if (now := time.monotonic()) < self._seen + SECONDS:
            return
        self._seen = now
        machines = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        self._cpus = min([self._threads, *filter(None, machines)])
        self._places = max(1, sum(count // self._cpus for count in machines))

    @staticmethod
    def _cancel(references: set[Any]) -> None:
        for reference in references:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(reference, force=True)
