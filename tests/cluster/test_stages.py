"""The stages on clusters of several nodes: the same bytes with any number of them, whatever is killed."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from darkroom.cluster import window
from darkroom.cluster.engine import engine
from darkroom.cluster.params import Compute
from darkroom.core.folders import files_below
from darkroom.core.params import Base, overlay
from darkroom.pipeline import params
from stages import augment, download, extract, split
from tests.helpers import clusters
from tests.helpers.project import ROOT, set_params

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("tensorflow")]

SMALL = {
    "download": {"source": "folder"},
    "augment": {"target": 60},
    "extract": {"image_size": [32, 32], "layers": ["block2_pool"], "pooling": "avg"},
}
OUTPUTS = ("data/raw", "data/split", "data/augmented", "data/features", "reports")


@pytest.fixture
def project(workspace, fashion):
    """600 pictures in data/incoming, of which none has been looked at."""
    shutil.copytree(fashion / "train", workspace / "data/incoming")
    (workspace / "data/unlabelled").mkdir()
    for path in sorted((workspace / "data/incoming/Bag").iterdir())[30:]:
        path.unlink()
    return workspace


def run(project, compute):
    """The bytes of all outputs of the four stages that look at every picture."""
    for name in (*OUTPUTS, ".cache/features"):
        shutil.rmtree(project / name, ignore_errors=True)
    sections = params.check(overlay(params.load(), SMALL))
    with engine(compute):
        for stage in (download, split, augment, extract):
            stage.main(Base(), getattr(sections, stage.__name__.rpartition(".")[2]))
    return {str(path): path.read_bytes() for name in OUTPUTS for path in files_below(project / name)}


def wait_until(condition, process=None):
    end = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < end
        assert process is None or process.poll() is None
        time.sleep(0.02)


def computes(process):
    """Not Ray's agents, which do nothing and end a minute after the others."""
    return not process.name().endswith("Agent")


def is_alive(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@contextlib.contextmanager
def once_there_are_features(project, fault):
    """Call `fault` in another thread when the first features are cached."""
    happened = []

    def wait():
        wait_until(lambda: list(project.glob(".cache/features/*/*.npz")))
        happened.append(fault())

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    thread.join()
    assert happened


def test_outputs_do_not_depend_on_the_number_of_nodes_or_on_what_is_killed(project, monkeypatch):
    """One node; two, of which a process is killed; four, of which two are killed and one stops for good."""
    monkeypatch.setattr("darkroom.extract.fill.ON_CLUSTER", 32)
    monkeypatch.setattr(window, "SECONDS", 1.0)
    expected = run(project, Compute())
    assert len(expected) > 1200
    with clusters.cluster() as cluster:
        compute = Compute(engine="ray", address=cluster.address)
        assert run(project, compute) == expected

        second = cluster.add()
        with once_there_are_features(project, second.kill_a_worker):
            assert run(project, compute) == expected

        third, fourth = cluster.add(), cluster.add()
        monkeypatch.setattr(window, "LATE", 5.0)

        def faults():
            third.send(signal.SIGKILL)
            fourth.send(signal.SIGSTOP)

        with once_there_are_features(project, faults):
            assert run(project, compute) == expected


def test_a_killed_stage_leaves_no_process_and_ends_the_same(project):
    """SIGKILL once features are cached, on a cluster of the stage's own."""
    expected = run(project, Compute())
    shutil.rmtree(project / ".cache/features")
    shutil.rmtree(project / "data/features")
    content = overlay(SMALL, {"compute": {"engine": "ray"}})
    set_params(project, {f"{name}.{key}": value for name, keys in content.items() for key, value in keys.items()})
    command = [sys.executable, "-m", "stages.extract"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": "/tmp"}
    with subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: list(project.glob(".cache/features/*/*.npz")), process)
        others = [other for other in psutil.Process(process.pid).children(recursive=True) if computes(other)]
        assert {"raylet", "gcs_server"} < {other.name() for other in others}
        process.kill()
    wait_until(lambda: not any(map(is_alive, others)))
    assert not (project / "data/features").exists()
    subprocess.run(command, cwd=project, env=environment, check=True)
    assert {str(path): path.read_bytes() for name in OUTPUTS for path in files_below(project / name)} == expected


def test_a_lost_head_ends_the_stage_with_a_sentence(project):
    run(project, Compute())
    shutil.rmtree(project / ".cache/features")
    with clusters.cluster() as cluster:
        content = overlay(SMALL, {"compute": {"engine": "ray", "address": cluster.address}})
        set_params(project, {f"{name}.{key}": value for name, keys in content.items() for key, value in keys.items()})
        command = [sys.executable, "-m", "stages.extract"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_gcs_rpc_server_reconnect_timeout_s": "5"}
        with subprocess.Popen(
            command, cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            wait_until(lambda: list(project.glob(".cache/features/*/*.npz")), process)
            cluster.nodes[0].send(signal.SIGKILL)
            _, errors = process.communicate(timeout=180)
        assert process.returncode == 1
        assert f"it lost its cluster at {cluster.address}: see that the cluster runs, then repeat" in errors
        assert (project / "data/features").exists()  # as it was
