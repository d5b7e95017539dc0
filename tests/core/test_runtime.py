import subprocess
import sys

from tests.helpers.project import ROOT


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
