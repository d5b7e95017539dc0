import multiprocessing
import os

import pytest

from darkroom.core import parallel
from darkroom.core.errors import UserError
from darkroom.core.parallel import on_all_cores


def test_results_are_in_order_and_input_is_read_lazily():
    read = []

    def numbers():
        for number in range(5000):
            read.append(number)
            yield -number

    results = on_all_cores(abs, numbers())
    assert [next(results) for _ in range(10)] == list(range(10))
    assert len(read) < 5000
    results.close()
    assert list(on_all_cores(abs, range(300))) == list(range(300))


def with_process(number):
    return number, os.getpid()


def test_long_work_goes_to_other_processes_and_stays_in_order(monkeypatch):
    monkeypatch.setattr(parallel, "ALONE_SECONDS", -1)
    numbers, processes = zip(*on_all_cores(with_process, iter(range(300))), strict=True)
    assert numbers == tuple(range(300))
    assert processes[0] == os.getpid() not in processes[parallel.CHUNK :]


def test_an_error_in_the_input_is_raised():
    def broken():
        yield 1
        raise ValueError("the source broke")

    with pytest.raises(ValueError, match="the source broke"):
        list(on_all_cores(abs, broken()))


def end_worker(number):
    if multiprocessing.parent_process():
        os._exit(9)
    return number


def test_a_worker_that_is_killed_is_reported(monkeypatch):
    monkeypatch.setattr(parallel, "ALONE_SECONDS", -1)
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    with pytest.raises(UserError, match="a worker process was killed, probably for lack of memory"):
        list(on_all_cores(end_worker, range(parallel.CHUNK + 1)))
