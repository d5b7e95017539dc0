import random
import shutil
import time

import numpy as np
import pytest

from darkroom.core import hashing, sealed
from darkroom.core.model_spec import BackboneSpec
from darkroom.core.partial_files import machine
from darkroom.core.row_cache import RowCache
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
    key = extract.cache_key(SPEC, "float32")
    for name in ("train/loop.py", "models/heads.py", "augment/transforms.py", "pipeline/params.py", "tracking/runs.py"):
        with (package / name).open("a") as file:
            file.write("# reworded\n")
    assert extract.cache_key(SPEC, "float32") == key
    for name in (
        "core/runtime.py",
        "images/decode.py",
        "backbones/keras_apps.py",
        "backbones/weights.py",
        "extract/forward.py",
    ):
        with (package / name).open("a") as file:
            file.write("# reworded\n")
        before, key = key, extract.cache_key(SPEC, "float32")
        assert before != key, name


def test_the_key_holds_the_specification():
    for change in ({"image_size": (64, 64)}, {"pooling": "max"}, {"weights_sha256": "0"}, {"tensorflow": "1"}):
        assert extract.cache_key(SPEC.model_copy(update=change), "float32") != extract.cache_key(SPEC, "float32")
    assert extract.cache_key(SPEC, "mixed_bfloat16") != extract.cache_key(SPEC, "float32")


def test_rows_come_back_in_any_order_from_several_chunks(workspace):
    cache = RowCache("features", {"layer": 1})
    assert cache.missing(["a", "b", "a"]) == ["a", "b"]
    cache.add(["a", "b"], {"layer": np.array([[1.0], [2.0]], np.float16)})
    cache.add(["c"], {"layer": np.array([[3.0]], np.float16)})
    (cache.folder / f".x.npz.{machine()}.999999999.partial").write_bytes(b"left by a killed process")
    again = RowCache("features", {"layer": 1})
    assert again.missing(["a", "d", "c"]) == ["d"]
    again.write(["c", "a", "b", "a"], "layer", workspace / "rows.npy")
    rows = np.load(workspace / "rows.npy")
    assert (rows.dtype, rows.ravel().tolist()) == (np.float16, [3, 1, 2, 1])
    assert RowCache("features", {"layer": 2}).missing(["a"]) == ["a"]


DAMAGE = {
    "one bit": lambda path: path.write_bytes(flipped(path.read_bytes())),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:300]),
    "empty": lambda path: path.write_bytes(b""),
    "no zip file": lambda path: path.write_bytes(b"words"),
    "other valid content": lambda path: np.savez(path, sha256=np.array(["a", "b"]), layer=np.zeros((2, 1), np.float16)),
    "another name": lambda path: path.rename(path.with_name(f"chunk.{'0' * 64}.npz")),
    "a folder": lambda path: (path.unlink(), path.mkdir(), (path / "file").touch()),
}


def flipped(content, place=0.5, bit=1):
    content = bytearray(content)
    content[int(place * len(content))] ^= bit
    return bytes(content)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_chunk_is_computed_again(workspace, damage, capsys):
    cache = RowCache("features", {"layer": 1})
    cache.add(["a", "b"], {"layer": np.array([[1.0], [2.0]], np.float16)})
    cache.add(["c"], {"layer": np.array([[3.0]], np.float16)})
    chunk = cache.places["a"][0]
    DAMAGE[damage](chunk)
    again = RowCache("features", {"layer": 1})
    assert again.missing(["a", "b", "c"]) == ["a", "b"]
    assert "is damaged, so its pictures go through the network again" in capsys.readouterr().out
    again.add(["a", "b"], {"layer": np.array([[1.0], [2.0]], np.float16)})
    again.write(["c", "a", "b"], "layer", workspace / "rows.npy")
    assert np.load(workspace / "rows.npy").ravel().tolist() == [3, 1, 2]
    assert sealed.is_intact(chunk)
    assert RowCache("features", {"layer": 1}).missing(["a", "b", "c"]) == []


def test_any_flipped_bit_is_noticed(workspace):
    seed = time.time_ns()
    print(f"seed {seed}")
    draw = random.Random(seed)
    cache = RowCache("features", {"layer": 1})
    cache.add(["a", "b"], {"layer": np.ones((2, 50), np.float16)})
    chunk = cache.places["a"][0]
    content = chunk.read_bytes()
    for _ in range(100):
        chunk.write_bytes(flipped(content, draw.random(), 1 << draw.randrange(8)))
        assert RowCache("features", {"layer": 1}).missing(["a", "b"]) == ["a", "b"]


def test_only_chunks_with_wanted_pictures_are_read(workspace):
    """A cache of many data sets would take minutes to verify."""
    cache = RowCache("features", {"layer": 1})
    cache.add(["a"], {"layer": np.ones((1, 5000), np.float16)})
    cache.add(["b"], {"layer": np.zeros((1, 5000), np.float16)})
    other = cache.places["b"][0]
    other.write_bytes(flipped(other.read_bytes(), 0.9))
    assert RowCache("features", {"layer": 1}).missing(["a"]) == []
    assert other.exists()
