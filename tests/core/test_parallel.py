import multiprocessing
import os
import time

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
    monkeypatch.setattr(parallel, "cores", lambda: 3)
    count = 20 * parallel.CHUNK
    numbers, processes = zip(*on_all_cores(with_process, iter(range(count))), strict=True)
    assert numbers == tuple(range(count))
    assert processes[0] == os.getpid() == processes[-1]  # which goes on while the others start
    assert os.getpid() not in processes[parallel.CHUNK : 9 * parallel.CHUNK]
    assert len({*processes[parallel.CHUNK : 9 * parallel.CHUNK]}) <= 2


def test_one_core_needs_no_other_process(monkeypatch):
    monkeypatch.setattr(parallel, "ALONE_SECONDS", -1)
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    assert {process for _, process in on_all_cores(with_process, range(300))} == {os.getpid()}


def test_the_first_error_is_raised_whichever_process_meets_it_first(monkeypatch):
    monkeypatch.setattr(parallel, "ALONE_SECONDS", -1)
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    results = on_all_cores(fail_from, range(20 * parallel.CHUNK))
    with pytest.raises(ValueError, match=f"^{parallel.CHUNK + 3}$"):
        list(results)


def fail_from(number):
    if number >= parallel.CHUNK + 3:
        raise ValueError(number)


def test_what_is_done_waits_for_a_slow_chunk_only_so_long(monkeypatch):
    """Results are in order, and not all of the input is read and held meanwhile."""
    monkeypatch.setattr(parallel, "ALONE_SECONDS", -1)
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    monkeypatch.setattr(parallel, "MOST_AHEAD", 5)
    read = []
    results = on_all_cores(slow_elsewhere, (read.append(number) or number for number in range(100 * parallel.CHUNK)))
    assert [next(results) for _ in range(parallel.CHUNK + 1)] == list(range(parallel.CHUNK + 1))
    assert len(read) <= 12 * parallel.CHUNK
    results.close()


def slow_elsewhere(number):
    if multiprocessing.parent_process() and number == parallel.CHUNK:
        time.sleep(1)
    return number


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
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    with pytest.raises(UserError, match="a worker process was killed, probably for lack of memory"):
        list(on_all_cores(end_worker, range(parallel.CHUNK + 1)))
