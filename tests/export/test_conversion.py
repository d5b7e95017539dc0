"""What is checked before and around the writing of formats."""

import gc
import re
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from darkroom.core.errors import UserError
from darkroom.export import conversion
from darkroom.inference.formats import FORMATS

pytestmark = pytest.mark.usefixtures("tensorflow")


def model_of(*weights):
    """A stand-in with weights of some shapes and types."""
    return SimpleNamespace(weights=[SimpleNamespace(shape=shape, dtype=dtype) for shape, dtype in weights])


def test_a_model_that_is_too_large_for_a_format_is_refused_before_the_work(monkeypatch):
    model = model_of(((10, 20), "float32"), ((3,), "int8"))
    monkeypatch.setattr(conversion, "LARGEST", 803)
    conversion.require_room(list(FORMATS), model, "this model")
    monkeypatch.setattr(conversion, "LARGEST", 802)
    with pytest.raises(UserError, match=r"formats onnx, litert: .* of a knn head are .* GB: use keras instead\.$"):
        conversion.require_room(["onnx", "keras", "litert"], model, "a knn head")
    conversion.require_room(["keras"], model, "a knn head")


def test_a_size_beyond_32_bits_is_counted():
    # A knn head of so many pictures and features.
    with pytest.raises(UserError, match=r"the weights of it are 20 GB: use keras instead"):
        conversion.require_room(["onnx"], model_of(((70_000, 70_000), "float32"), ((), "int8")), "it")


def test_space_for_every_format_is_required_before_the_work(monkeypatch):
    model = model_of(((1000, 250), "float32"))  # 1 MB in each format
    monkeypatch.setattr("darkroom.core.resources.free_space", lambda _: 2_500_000)
    conversion.require_room(["keras", "onnx", "litert_int8"], model, "this model")
    with pytest.raises(
        UserError, match=r"formats keras, onnx, litert would take 3.0 MB on the disk that holds exports, but 2.5 MB are"
    ):
        conversion.require_room(["keras", "onnx", "litert"], model, "this model")


def test_memory_for_some_copies_of_the_weights_is_enough(tmp_path):
    """tf2onnx would hold a copy for each of its optimizers, and all graphs would stay until the end."""
    import keras

    from darkroom.core.model_spec import JOINT

    pixels = keras.Input((None, None, 3), name="pixels")
    maps = keras.layers.Conv2D(1024, 64, strides=8)(keras.layers.Resizing(64, 64)(pixels))  # 50 MB
    joint = keras.layers.Identity(name=JOINT)(keras.layers.GlobalAveragePooling2D()(maps))
    whole = keras.Model(pixels, keras.layers.Dense(2, "softmax")(joint))
    weights = 4 * whole.count_params()
    gc.collect()
    before = psutil.Process().memory_info().rss
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    files = conversion.write(["saved_model", "onnx"], whole, ["a", "b"], tmp_path)
    peak = 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
    assert list(files) == ["saved_model", "onnx"]
    assert peak - before < 25 * weights
