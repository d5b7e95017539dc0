"""Temporary files do not outlive their process, or a killed one for long."""

import signal
import subprocess
import sys

import pytest

from tests.helpers.project import ROOT

CODE = """
import sys, tempfile
from darkroom.core.temporary import own_folder
with own_folder():
    print(tempfile.mkdtemp(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path):
    """Start a process with a temporary file in a folder, which ends when its stdin does."""
    started = []

    def begin():
        process = subprocess.Popen(
            [sys.executable, "-c", CODE], cwd=ROOT, env={"TMPDIR": str(tmp_path)}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline().startswith(f"{tmp_path}/darkroom-process-")
        return process

    yield begin
    for process in started:
        process.communicate()


def test_a_killed_process_leaves_nothing_after_the_next(start, tmp_path):
    killed, living = start(), start()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert len(list(tmp_path.iterdir())) == 2
    third = start()
    assert len(list(tmp_path.iterdir())) == 2  # of those that live
    for process in (living, third):
        process.communicate()
    assert list(tmp_path.iterdir()) == []


def test_without_a_place_for_temporary_files_nothing_fails(tmp_path):
    code = CODE.replace("print(tempfile.mkdtemp(), flush=True)", "print('well')").replace("sys.stdin.read()", "")
    code = "import tempfile\ntempfile._candidate_tempdir_list = lambda: ['/proc']\n" + code
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("well\n", "")
