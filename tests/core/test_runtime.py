import subprocess
import sys

from darkroom.core import runtime
from tests.helpers.project import ROOT


def test_a_precision_that_is_set_is_taken_without_a_look_at_the_machine():
    for setting in ("float32", "mixed_bfloat16", "mixed_float16"):
        assert runtime.precision(setting) == setting


def test_the_cpus_abilities_are_read_where_linux_lists_them():
    assert all(flag and " " not in flag for flag in runtime.cpu_flags())


def test_tensorflow_is_imported_without_the_packages_that_only_its_wrappers_need():
    code = """
import sys
from darkroom.core import runtime

runtime.import_tensorflow()
assert not set(runtime.UNUSED_BY_KERAS) & set(sys.modules)
import keras, pandas, sklearn.linear_model
assert keras.Sequential and pandas.DataFrame
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
