"""Each module of `darkroom.download.sources` is a source; the table of sources and splits reads all of them."""

import re
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from darkroom.download import sources
from darkroom.download.sources.base import safe_name
from tests.helpers.project import ROOT


def test_every_module_but_base_is_a_source():
    files = {path.stem for path in Path(sources.__file__).parent.glob("*.py")}
    assert set(sources.NAMES) == files - {"__init__", "base"}
    assert {"archive", "csv", "folder", "idx", "tfds"} <= set(sources.NAMES)


def test_names_and_params_need_none_of_the_large_libraries():
    large = ("tensorflow", "tensorflow_datasets", "keras", "scipy", "sklearn", "pandas", "matplotlib", "mlflow")
    script = (
        "import sys, darkroom.download.params, darkroom.split.params, darkroom.augment.params\n"
        "import stages.download, stages.split, stages.augment\n"
        f"print(sorted(set({large}) & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@given(st.text(min_size=1))
def test_class_names_are_safe_as_folder_names(label):
    assert re.fullmatch(r'[^\\/:*?"<>|\s]+', safe_name(label))
    assert safe_name(label) not in (".", "..")
