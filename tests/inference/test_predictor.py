"""Many pictures: batches of equal sizes, results in order, limits of memory."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from darkroom.images.decode import decode
from darkroom.inference import predictor
from darkroom.inference.formats import Exported


def encoded(height, width, shade):
    stream = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), shade, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


PICTURE = st.one_of(st.just(b"no picture"), st.builds(encoded, *[st.sampled_from([2, 5, 30])] * 2, st.integers(0, 255)))


@settings(deadline=None)
@given(st.lists(PICTURE, max_size=40))
def test_any_mixture_is_returned_in_order(sources):
    """Sizes are mixed, some cannot be read; batches and memory stay within limits, here small ones."""
    batches, returned = [], 0
    ahead = 10 + 2 * predictor.THREADS + 1

    class Counted(list):
        def __iter__(self):
            for number, source in enumerate(super().__iter__()):
                assert number - returned <= ahead
                yield source

    def probabilities(pixels):
        batches.append(pixels.shape)
        return pixels.mean(axis=(1, 2))

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "BATCH": 4,
            "BATCH_PIXELS": 1000,
            "WAITING": 10,
            "WAITING_PIXELS": 3000,
            "MIN_HEIGHT": 1,
        }.items():
            patch.setattr(predictor, name, value)
        for source, result in predictor.classify(Exported(["r", "g", "b"], probabilities), Counted(sources)):
            assert source == sources[returned]
            returned += 1
            if source == b"no picture":
                assert str(result) == "not a picture of a known format"
            else:
                assert (result == decode(source)[0, 0]).all()
    assert returned == len(sources)
    assert sum(shape[0] for shape in batches) == len([source for source in sources if source != b"no picture"])
    assert all(count <= 4 and (count == 1 or count * height * width <= 1000) for count, height, width, _ in batches)


def test_equal_sizes_share_a_batch():
    """Sizes alternate, and still the model is called eight times, not 256 times."""
    batches = []

    def probabilities(pixels):
        batches.append(len(pixels))
        return pixels.mean(axis=(1, 2))

    sources = [encoded(8, 8 + number % 2, number) for number in range(256)]
    assert len(list(predictor.classify(Exported(["r", "g", "b"], probabilities), sources))) == 256
    assert batches == [32] * 8


def test_a_picture_that_is_too_large_is_named(tmp_path):
    Image.new("1", (10_001, 10_000)).save(tmp_path / "large.png")
    ((_, error),) = predictor.classify(Exported(["a"], lambda pixels: pixels), [tmp_path / "large.png"])
    assert str(error) == "10,001 x 10,000 pixels are more than the largest picture may have"


def test_long_and_low_pictures_need_little_memory(tmp_path):
    """The memory for resizing grows with each side, however few the pixels are."""
    sources = []
    for size in [(65_535, 1)] * 20 + [(1, 65_536)]:
        sources.append(tmp_path / f"{len(sources)}.png")
        Image.new("1", size).save(sources[-1])
    batches = []
    exported = Exported(["a"], lambda pixels: batches.append(len(pixels)) or np.ones((len(pixels), 1), np.float32))
    *results, (_, error) = predictor.classify(exported, sources)
    assert str(error) == "1 x 65,536 pixels: the longer side may have 65,535"
    assert [result.tolist() for _, result in results] == [[1]] * 20
    assert batches == [1] * 20


def test_a_picture_on_which_the_model_fails_does_not_stop_the_rest():
    def probabilities(pixels):
        if len(pixels) > 1 or pixels.max() > 200:
            raise MemoryError(f"no room\nfor {len(pixels)}")
        return pixels.mean(axis=(1, 2))

    sources = [encoded(8, 8, shade) for shade in (10, 20, 255, 30)]
    results = [result for _, result in predictor.classify(Exported(["r", "g", "b"], probabilities), sources)]
    assert str(results.pop(2)) == "the model cannot process it (no room for 1)"
    assert [result[0] for result in results] == [10, 20, 30]


def test_the_most_probable_classes_come_first():
    probabilities = np.array([0.1, 0.35, 0.2, 0.35], np.float32)
    assert predictor.top_classes(probabilities, ["a", "b", "c", "d"], 3) == [("b", 0.35), ("d", 0.35), ("c", 0.2)]
