"""What a machine of a cluster checks before it computes."""

import os
import sys
from importlib import metadata
from pathlib import Path

import pytest

from darkroom.cluster import worker
from tests.helpers.project import ROOT

HOST = os.uname().nodename


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch):
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv(worker.PREPARED, "")


def test_it_goes_to_the_project(tmp_path):
    (tmp_path / "marker").touch()
    versions = (("numpy", metadata.version("numpy")),)
    assert worker.prepare(str(tmp_path), str(ROOT), "marker", versions) == ""
    assert (sys.path[0], Path.cwd()) == (str(ROOT), tmp_path)


def test_another_folder_under_the_same_path_is_refused(tmp_path):
    problem = worker.prepare(str(tmp_path), str(ROOT), ".cache/marker", ())
    assert problem.startswith(f"{HOST} does not see the project in {tmp_path}: put it on a disk that all machines have")


def test_other_versions_are_refused(tmp_path):
    (tmp_path / "marker").touch()
    versions = (("numpy", "1.0"), ("pillow", metadata.version("pillow")), ("no-such-package", "2.0"))
    assert worker.prepare(str(tmp_path), str(ROOT), "marker", versions) == (
        f"{HOST} has numpy {metadata.version('numpy')} instead of 1.0, no-such-package none instead of 2.0: "
        "install the project's packages there"
    )
