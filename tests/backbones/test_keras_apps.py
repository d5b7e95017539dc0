import keras
import numpy as np
import pytest
import tensorflow as tf

from darkroom.backbones import keras_apps
from darkroom.images.decode import decode
from tests.helpers.backbones import vgg16, vgg16_weights

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.mark.parametrize("shape", [(28, 28), (64, 64), (200, 131), (33, 500)])
def test_resizing_is_tensorflows_with_antialiasing(shape):
    pixels = np.random.default_rng(1).integers(0, 256, (2, *shape, 3)).astype(np.float32)
    expected = tf.image.resize(pixels, (64, 48), antialias=True).numpy()
    assert np.abs(keras_apps.Resize((64, 48))(pixels).numpy() - expected).max() < 2e-3
    unchanged = keras_apps.Resize((64, 48))(expected).numpy()
    assert np.abs(unchanged - expected).max() < 1e-4  # a picture of the right size stays as it is


def test_vgg16_features_equal_keras_own(pictures):
    """The same layer of keras.applications.VGG16 with its own pre-processing and the pinned weights."""
    model = vgg16((64, 64), ["block4_pool"], "flatten")
    original = keras.applications.VGG16(include_top=False, weights=None, input_shape=(64, 64, 3))
    original.set_weights(vgg16_weights())
    pixels = np.stack([decode(path) for path in pictures[:8]]).astype(np.float32)
    resized = tf.image.resize(pixels, (64, 64), antialias=True)
    cut = keras.Model(original.input, original.get_layer("block4_pool").output)
    expected = cut(keras.applications.vgg16.preprocess_input(resized.numpy())).numpy().reshape(8, -1)
    features = model(pixels)["block4_pool"].numpy()
    assert features.shape == (8, 8192)
    assert np.abs(features - expected).max() < 1e-3 * np.abs(expected).max()
