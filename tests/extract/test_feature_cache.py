import shutil

import numpy as np
import pytest

from darkroom.core import hashing
from darkroom.core.model_spec import BackboneSpec
from darkroom.extract.feature_cache import FeatureCache
from stages import extract
from tests.helpers.project import ROOT

SPEC = BackboneSpec(backbone="VGG16", layers=("block3_pool",), pooling="avg", image_size=(32, 32))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the library's code whose files the key's digest is computed on."""
    folder = shutil.copytree(ROOT / "darkroom", tmp_path / "darkroom", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(hashing, "PACKAGE", folder)
    return folder


def test_the_key_holds_all_code_that_features_depend_on(package):
    key = extract.cache_key(SPEC)
    for name in ("train/loop.py", "models/heads.py", "augment/transforms.py", "pipeline/params.py", "tracking/runs.py"):
        with (package / name).open("a") as file:
            file.write("# reworded\n")
    assert extract.cache_key(SPEC) == key
    for name in (
        "core/runtime.py",
        "images/decode.py",
        "backbones/keras_apps.py",
        "backbones/weights.py",
        "extract/forward.py",
    ):
        with (package / name).open("a") as file:
            file.write("# reworded\n")
        before, key = key, extract.cache_key(SPEC)
        assert before != key, name


def test_the_key_holds_the_specification():
    for change in ({"image_size": (64, 64)}, {"pooling": "max"}, {"weights_sha256": "0"}, {"tensorflow": "1"}):
        assert extract.cache_key(SPEC.model_copy(update=change)) != extract.cache_key(SPEC), change


def test_rows_come_back_in_any_order_from_several_chunks(workspace):
    cache = FeatureCache({"layer": 1})
    assert cache.missing(["a", "b", "a"]) == ["a", "b"]
    cache.add(["a", "b"], {"layer": np.array([[1.0], [2.0]], np.float16)})
    cache.add(["c"], {"layer": np.array([[3.0]], np.float16)})
    (cache.folder / ".x.npz.1.partial").write_bytes(b"left by a killed process")
    again = FeatureCache({"layer": 1})
    assert again.missing(["a", "d", "c"]) == ["d"]
    again.write(["c", "a", "b", "a"], "layer", workspace / "rows.npy")
    rows = np.load(workspace / "rows.npy")
    assert (rows.dtype, rows.ravel().tolist()) == (np.float16, [3, 1, 2, 1])
    assert FeatureCache({"layer": 2}).missing(["a"]) == ["a"]
