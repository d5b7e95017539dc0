"""The frame of stages and commands."""

import subprocess
import sys

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
