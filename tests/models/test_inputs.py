import tracemalloc

import numpy as np
import pytest

from darkroom.images.decode import decode
from darkroom.images.folders import Picture
from darkroom.models import inputs
from darkroom.models.inputs import Features, Held, Pictures

pytestmark = pytest.mark.usefixtures("tensorflow")


def test_pictures_in_memory_are_those_on_disk(pictures, monkeypatch):
    some = [Picture(path, path.parent.name) for path in pictures[::20]]
    for size in ((28, 28), (40, 24)):
        fresh, held = Pictures(some, size), Pictures(some, size).hold()
        assert held._held is not None
        rows = np.array([7, 3, 21])
        assert (fresh.rows(rows) == held.rows(rows)).all()
    assert (Pictures(some, (28, 28)).rows(slice(3, 4))[0] == decode(some[3].path)).all()
    monkeypatch.setattr(inputs, "SHARE_OF_MEMORY", 0)
    assert Pictures(some, (28, 28)).hold()._held is None


def test_a_few_pictures_of_many_take_no_more_memory(pictures):
    def peak(count):
        many = Pictures([Picture(pictures[0], "Bag")] * count, (28, 28))
        many.rows([0])  # imports
        tracemalloc.start()
        many.rows([0])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak(100_000) < peak(1000) + 2**21


def test_features_of_several_layers_are_side_by_side(tmp_path):
    (tmp_path / "val.csv").write_text("sha256,path,label\na,1.png,Coat\nb,2.png,Bag\n")
    np.save(tmp_path / "val.one.npy", np.array([[1], [2]], np.float16))
    np.save(tmp_path / "val.two.npy", np.array([[3, 4], [5, 6]], np.float32))
    features = Features(tmp_path, "val", ["one", "two"])
    assert features.rows().tolist() == [[1, 3, 4], [2, 5, 6]]
    assert features.rows().dtype == np.float32
    assert features.numbers(["Bag", "Coat"]).tolist() == [1, 0]
    held = Held(features.rows([1]), features, [1])
    assert (held.paths, held.labels, held.rows().tolist()) == (["2.png"], ["Bag"], [[2, 5, 6]])


def test_every_float16_is_converted_exactly():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    for array in (every, every[::-2], every[:, 7:9], every.T):
        given = inputs.float32(array)
        assert given.dtype == np.float32
        assert given.tobytes() == array.astype(np.float32).tobytes()
    assert inputs.float32(every[:0]).shape == (0, 256)
    doubles = np.array([[0.1, 3.0]])
    assert inputs.float32(doubles).tolist() == doubles.astype(np.float32).tolist()
