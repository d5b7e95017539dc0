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
