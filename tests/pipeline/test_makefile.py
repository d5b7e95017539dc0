"""What `make` runs, in which order."""

import subprocess

import pytest

from tests.helpers.project import ROOT


@pytest.mark.parametrize("target", ["run", "advise", "sweep"])
def test_what_stops_dvc_is_cleared_before_it_runs(target):
    """A kill can leave files at which DVC would stop every time."""
    command = ["make", "--no-print-directory", "--dry-run", "--assume-old", ".venv/installed", target]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0] == "python -m darkroom check"
    assert lines[1].startswith("python -m darkroom forecast" if target == "run" else "dvc repro")
