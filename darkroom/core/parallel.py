"""Work on all cores, in order, without reading ahead of it."""

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
CHUNK = 64  # items that travel to a process together
ALONE = 1.0  # seconds


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def on_all_cores(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`map(function, items)` in one process a core; of `items` only a few chunks are in memory at a time.

    What a second is enough for is done in this process, since others take longer than that to begin. They are spawned,
    not forked: TensorFlow's threads do not survive a fork.

    Raises:
        UserError: a process was killed from outside.
    """
    todo = iter(items)
    end = math.inf
    while time.monotonic() < end:
        if not (chunk := list(islice(todo, CHUNK))):
            return
        yield from _each(function, chunk)
        end = min(end, time.monotonic() + ALONE)  # from the first chunk on, which may have to import something
    with ProcessPoolExecutor(cores(), multiprocessing.get_context("spawn")) as pool:
        pending: deque[Future[list[R]]] = deque()
        try:
            while chunk := list(islice(todo, CHUNK)):
                pending.append(pool.submit(_each, function, chunk))
                if len(pending) > 4 * cores():
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        except BrokenProcessPool:
            raise UserError("a worker process was killed, perhaps for want of memory: close other programs.") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _each(function: Callable[[T], R], items: list[T]) -> list[R]:
    return [function(item) for item in items]
