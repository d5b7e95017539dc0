"""What is checked before and around the writing of formats."""

from types import SimpleNamespace

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
