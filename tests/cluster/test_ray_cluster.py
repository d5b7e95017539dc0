"""Functions on a cluster of two processes on this machine: order, errors, what is held, what is lost."""

import errno
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from darkroom.cluster.engine import engine
from darkroom.cluster.params import Compute
from darkroom.core import parallel
from darkroom.core.errors import UserError, environment_sentence
from tests.helpers import clusters


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Processes of a cluster; the current folder is the project's until the module ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        with clusters.short_temporary_folder(), engine(Compute(engine="ray", workers=2)):
            yield parallel.cluster()


def here(number):
    return number, os.getpid(), str(Path.cwd())


def test_results_are_in_order_and_computed_by_other_processes(two):
    numbers, processes, folders = zip(*two.map(here, range(300), 10), strict=True)
    assert numbers == tuple(range(300))
    assert os.getpid() not in processes
    assert len(set(processes)) == 2
    assert set(folders) == {str(Path.cwd())}


def test_stages_compute_there(two):
    """Both functions by which stages use all cores."""
    for on_all in (parallel.on_all_cores, parallel.on_all_threads):
        assert os.getpid() not in {process for _, process, _ in on_all(here, range(10))}


def test_input_is_read_as_it_is_needed(two):
    read = []
    results = two.map(here, (read.append(number) or number for number in range(100_000)), 10)
    assert [next(results)[0] for _ in range(100)] == list(range(100))
    assert len(read) < 2_000
    results.close()


@pytest.mark.parametrize(
    "error", [UserError("a sentence: with its remedy."), ValueError("a fault"), OSError(errno.ENOSPC, "full", "data/x")]
)
def test_errors_are_those_of_the_function(two, error):
    def fail(number):
        if number == 7:
            raise error

    with pytest.raises(type(error)) as caught:
        list(two.map(fail, range(20), 3))
    assert str(caught.value) == str(error)
    assert environment_sentence(caught.value) == environment_sentence(error)


def test_an_error_in_the_input_is_raised(two):
    def broken():
        yield 1
        raise ValueError("the source broke")

    with pytest.raises(ValueError, match="the source broke"):
        list(two.map(abs, broken(), 1))


def test_a_killed_process_costs_its_chunk_and_no_result(two, tmp_path):
    def work(number):
        if number == 5 and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return -number

    assert list(two.map(work, range(30), 3)) == [-number for number in range(30)]
    assert (tmp_path / "killed").exists()


def test_a_chunk_that_kills_every_process_is_named(two, monkeypatch):
    from darkroom.cluster import window

    monkeypatch.setattr(window, "RETRIES", 1)
    with pytest.raises(UserError, match="killed again and again, probably for lack of memory"):
        list(two.map(lambda number: os.kill(os.getpid(), signal.SIGKILL), [1], 1))


def test_a_late_chunk_is_given_to_another_process(two, monkeypatch, tmp_path):
    from darkroom.cluster import window

    monkeypatch.setattr(window, "LATE", 0.5)
    monkeypatch.setattr(window, "SECONDS", 0.5)

    def work(number):
        if number == 3:
            try:
                (tmp_path / "first").touch(exist_ok=False)
            except FileExistsError:
                return number
            time.sleep(30)  # a machine that hardly goes on
            return "late"
        return number

    assert list(two.map(work, range(10), 1)) == list(range(10))


def test_nobody_else_can_reach_it(two):
    """All of its processes listen on this machine alone."""
    list(two.map(abs, range(10), 1))
    processes = psutil.Process().children(recursive=True)
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in processes
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert any("raylet" in process.name() for process in processes)
    assert listening == {"127.0.0.1"}


def test_unlike_machines_are_noticed(two, monkeypatch):
    list(two.map(abs, [1], 1))
    assert not parallel.unlike_cpus()
    monkeypatch.setattr(parallel, "kind_of_cpu", lambda: "avx1024")
    assert parallel.unlike_cpus()


def test_without_ray_the_remedy_is_named(monkeypatch):
    for name in ("darkroom.cluster.ray_cluster", "darkroom.cluster.window"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    sentence = "compute.engine is ray, which is not installed: run `make cluster`, or set it to local"
    with pytest.raises(UserError, match=sentence), engine(Compute(engine="ray")):
        pass


def test_folders_for_temporary_files_may_be_too_deep_for_sockets(monkeypatch, tmp_path):
    deep = tmp_path / ("x" * 80)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(UserError, match="set TMPDIR to a folder with a short path"), engine(Compute(engine="ray")):
        list(parallel.on_all_cores(abs, [1]))


@pytest.mark.parametrize("address", ["127.0.0.1:9", "127.0.0.1:99999"])
def test_an_address_without_a_cluster_is_named(address):
    sentence = f"compute.address {address} is no Ray cluster that can be used"
    with pytest.raises(UserError, match=sentence), engine(Compute(engine="ray", address=address)):
        list(parallel.on_all_cores(abs, [1]))
