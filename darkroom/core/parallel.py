"""Parallel map over processes: in order, and without reading all of its input first."""

import math
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from darkroom.core.errors import UserError

T = TypeVar("T")
R = TypeVar("R")
CHUNK = 64  # items sent to a process together
ALONE_SECONDS = 1.0  # before other processes are started


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def on_all_cores(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield `map(function, items)`, computed by one process per core; only a few chunks of `items` are held in memory.

    The first second's work is done in this process, as starting others takes longer than that. They are spawned, not
    forked: TensorFlow's threads do not survive a fork.

    Raises:
        UserError: a worker process was killed.
    """
    remaining = iter(items)
    end = math.inf
    while time.monotonic() < end:
        if not (chunk := list(islice(remaining, CHUNK))):
            return
        yield from _each(function, chunk)
        end = min(end, time.monotonic() + ALONE_SECONDS)  # not counting the first chunk, which may import libraries
    with ProcessPoolExecutor(cores(), multiprocessing.get_context("spawn")) as pool:
        pending: deque[Future[list[R]]] = deque()
        try:
            while chunk := list(islice(remaining, CHUNK)):
                pending.append(pool.submit(_each, function, chunk))
                if len(pending) > 4 * cores():
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        except BrokenProcessPool:
            raise UserError("a worker process was killed, probably for lack of memory: close other programs.") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _each(function: Callable[[T], R], items: list[T]) -> list[R]:
    return [function(item) for item in items]
