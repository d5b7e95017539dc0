"""What `make` runs, in which order."""

import os
import re
import shutil
import subprocess

import pytest

from tests.helpers.project import ROOT, run


@pytest.mark.parametrize("target", ["run", "advise", "sweep"])
def test_what_stops_dvc_is_cleared_before_it_runs(target):
    """A kill can leave files at which DVC would stop every time."""
    command = ["make", "--no-print-directory", "--dry-run", "--assume-old", ".venv/installed", target]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0] == "python -m darkroom check"
    assert lines[1].startswith("python -m darkroom forecast" if target == "run" else "dvc repro")


@pytest.mark.parametrize(
    ("target", "installed", "locks"),
    [
        (".venv/installed", [], ["requirements.lock"]),
        ("cluster", ["installed"], ["requirements-cluster.lock"]),
        (".venv/installed", ["installed", "installed-cluster"], []),
        ("cluster", ["installed", "installed-cluster", "installed-dev"], []),
        (".venv/installed-dev", ["installed", "installed-cluster"], ["requirements-dev.lock"]),
    ],
)
def test_an_environment_with_more_serves_for_less(target, installed, locks, tmp_path):
    for name in ("Makefile", "requirements.lock", "requirements-cluster.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / name, tmp_path)
        os.utime(tmp_path / name, (1, 1))
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("bin/python", "bin/uv", *installed):
        (tmp_path / ".venv" / name).touch()
    output = run("make", "--dry-run", target, cwd=tmp_path).stdout
    assert re.findall(r"--require-hashes (\S+)", output) == locks
