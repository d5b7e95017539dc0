"""The frame of stages and commands."""

import subprocess
import sys

import pytest

from tests.helpers.project import ROOT

CODE = """
import sys, tempfile
from darkroom.pipeline.script import guarded, replace_process
def work():
    tempfile.mkdtemp()
    replace_process([sys.executable, "-c", "print('replaced')"])
guarded("x", work)
"""


def test_a_process_that_is_replaced_leaves_no_temporary_file(tmp_path):
    environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "replaced\n"
    assert list(tmp_path.iterdir()) == []


PRINTS = "from darkroom.pipeline.script import guarded; guarded('x', lambda: [print(row) for row in range({count})])"
HELP = f"{sys.executable} -m darkroom --help"


def shell(command):
    return subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "command",
    [
        f'{sys.executable} -c "{PRINTS.format(count=100_000)}"',
        f'{sys.executable} -c "{PRINTS.format(count=3)}"',  # written at the end only
        HELP,
        f"{sys.executable} -m stages.split --help",
    ],
    ids=["long", "short", "overview", "stage"],
)
def test_a_reader_that_ends_first_ends_the_program_silently(command):
    done = shell(f"(sleep 1; {command}; echo $? >&2) | true")
    assert done.stderr in ("141\n", *(["0\n"] if "help" in command else []))  # help may be written at the very end


def test_output_that_cannot_be_written_is_an_error():
    done = shell(f'{sys.executable} -c "{PRINTS.format(count=3)}" > /dev/full')
    assert done.returncode == 1 and done.stderr.startswith("x: there is no space left") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_streams_may_be_closed(closed, tmp_path):
    """A file that is opened while stdout is closed would otherwise get what native code prints."""
    code = (
        "import os; from darkroom.pipeline.script import guarded\n"
        f"def work(): file = open('{tmp_path}/file', 'w'); print('text', flush=True); os.write(1, b'native')\n"
        "guarded('x', work)"
    )
    done = shell(f'{sys.executable} -c "{code}" {closed}')
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "file").read_text() == ""
