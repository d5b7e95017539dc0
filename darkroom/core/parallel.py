"""Parallel map over processes, threads or a cluster: in order, and without reading all of its input first."""

import contextlib
import math
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from itertools import islice
from typing import Protocol, TypeVar

from darkroom.core.errors import UserError
from darkroom.core.precision import kind_of_cpu

T = TypeVar("T")
R = TypeVar("R")
CHUNK = 64  # items sent to a process together
ALONE_SECONDS = 1.0  # before other processes are started
AHEAD, MOST_AHEAD = 4, 64  # chunks for each core that are sent to other processes, and that are held, at most


class Cluster(Protocol):
    """Machines that compute in the place of this one's cores."""

    kinds_of_cpu: set[str]  # of the machines that computed, as `darkroom.core.precision.kind_of_cpu`

    def map(self, function: Callable[[T], R], items: Iterable[T], chunk: int, threads: int = 1) -> Iterator[R]:
        """Yield `map(function, items)`, computed `chunk` by `chunk`; `threads` are those that `function` uses."""


_cluster: ContextVar[Cluster | None] = ContextVar("cluster", default=None)


@contextlib.contextmanager
def computing_on(cluster: Cluster) -> Iterator[None]:
    """Let the functions of this module compute on a cluster within the block."""
    token = _cluster.set(cluster)
    try:
        yield
    finally:
        _cluster.reset(token)


def cluster() -> Cluster | None:
    """The cluster to compute on, or None: on this machine's cores."""
    return _cluster.get()


def unlike_cpus() -> bool:
    """Whether machines with other CPUs than this one's computed, so that results may differ from its by rounding."""
    machines = cluster()
    return machines is not None and bool(machines.kinds_of_cpu - {kind_of_cpu()})


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def on_all_threads(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield `map(function, items)`, computed by one thread per core, for what does not hold Python's lock.

    All of `items` is read first. On a cluster, each is given to a process.
    """
    if machines := cluster():
        yield from machines.map(function, items, 1)
        return
    with ThreadPoolExecutor(cores()) as pool:
        yield from pool.map(function, items)


def on_all_cores(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield `map(function, items)`, computed by one process per core; only some chunks of `items` are held in memory.

    This process is one of them. It works alone for a second, as starting others takes longer than that, and goes on
    while they start. They are spawned, not forked: TensorFlow's threads do not survive a fork. Or a cluster computes.

    Raises:
        UserError: a worker process was killed.
    """
    if machines := cluster():
        yield from machines.map(function, items, CHUNK)
        return
    remaining = iter(items)
    end = math.inf
    others = cores() - 1
    while time.monotonic() < end or not others:
        if not (chunk := list(islice(remaining, CHUNK))):
            return
        yield from _each(function, chunk)
        end = min(end, time.monotonic() + ALONE_SECONDS)  # not counting the first chunk, which may import libraries
    with ProcessPoolExecutor(others, multiprocessing.get_context("spawn")) as pool:
        pending: deque[Future[list[R]]] = deque()
        sent: set[Future[list[R]]] = set()
        try:
            while chunk := list(islice(remaining, CHUNK)):
                sent = {future for future in sent if not future.done()}
                if len(sent) < AHEAD * others:
                    pending.append(pool.submit(_each, function, chunk))
                    sent.add(pending[-1])
                else:
                    pending.append(_here(function, chunk))
                while pending and (pending[0].done() or len(pending) > MOST_AHEAD * cores()):
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        except BrokenProcessPool:
            raise UserError("a worker process was killed, probably for lack of memory: close other programs.") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _here(function: Callable[[T], R], items: list[T]) -> Future[list[R]]:
    """Compute a chunk in this process; an error is kept until it is the chunk's turn."""
    future: Future[list[R]] = Future()
    try:
        future.set_result(_each(function, items))
    except Exception as error:
        future.set_exception(error)
    return future


def _each(function: Callable[[T], R], items: list[T]) -> list[R]:
    return [function(item) for item in items]
