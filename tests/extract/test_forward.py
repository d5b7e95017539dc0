import numpy as np
import pytest

from darkroom.core.errors import UserError
from darkroom.extract import forward
from tests.helpers.backbones import vgg16

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_features_do_not_depend_on_the_neighbours(pictures, precision):
    model = vgg16((32, 32), ["block3_pool"], "flatten", precision)

    def rows(paths):
        batches = forward.features(model, paths, (32, 32), precision)
        return np.concatenate([batch["block3_pool"] for batch in batches])

    chosen = pictures[::12]  # 50 pictures of all classes: a whole batch and a part of one
    forwards, backwards = rows(chosen), rows(chosen[::-1])
    assert forwards.shape == (50, 4 * 4 * 256)
    assert forwards.dtype == (np.float32 if precision == "float32" else np.float16)
    assert (forwards == backwards[::-1]).all()


def test_reduced_precision_is_close(pictures):
    features = {}
    for precision in ("float32", "mixed_bfloat16"):
        model = vgg16((64, 64), ["block4_pool"], "flatten", precision)
        features[precision] = next(forward.features(model, pictures[:32], (64, 64), precision))["block4_pool"]
    exact, reduced = features["float32"], features["mixed_bfloat16"].astype(np.float32)
    assert np.linalg.norm(reduced - exact) < 0.02 * np.linalg.norm(exact)


def test_features_beyond_float16_are_refused(pictures):
    def model(images, training):
        import tensorflow as tf

        return {"layer": tf.reduce_sum(images, axis=(1, 2))}

    with pytest.raises(UserError, match=r"exceed the range of float16: set extract\.precision to float32"):
        next(forward.features(model, pictures[:1], (32, 32), "mixed_bfloat16"))


def test_no_pictures_are_no_batches():
    assert list(forward.features(None, [], (32, 32), "float32")) == []


@pytest.mark.parametrize(("room", "batch"), [(5000, 1024), (1024, 1024), (1000, 512), (100, 64), (32, 32), (1, 32)])
def test_the_largest_batch_that_fits_is_found_by_trying(room, batch, tensorflow):
    from tensorflow.errors import ResourceExhaustedError

    def run(count):
        if count > room:
            raise ResourceExhaustedError(None, None, "out of memory")

    assert forward.largest_batch(run) == batch


def test_a_gpu_gets_large_batches_and_gives_the_same_features(pictures, monkeypatch):
    """What is done for a GPU, with this machine's CPU in its place."""
    import tensorflow as tf

    model, paths = vgg16((32, 32), ["block3_pool"], "flatten", "float32"), pictures[:70]
    expected = list(forward.features(model, paths, (32, 32), "float32"))
    sizes, devices = [], tf.config.list_logical_devices("CPU")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: devices)
    monkeypatch.setattr(forward, "LARGEST", 64)
    given = list(
        forward.features(
            lambda images, training: sizes.append(len(images)) or model(images), paths, (32, 32), "float32"
        )
    )
    assert sizes == [64]  # traced once
    assert [len(next(iter(batch.values()))) for batch in given] == [32, 32, 6]
    for one, other in zip(expected, given, strict=True):
        for layer, rows in one.items():
            assert np.abs(other[layer] - rows).max() < 1e-4 * np.abs(rows).max()
