"""Where networks are split; below and above the split point together are the whole."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from darkroom.backbones import keras_apps
from darkroom.images.decode import decode
from darkroom.models import split_point

pytestmark = pytest.mark.usefixtures("tensorflow")
BACKBONES = {  # a size that suits the network, and where it is split to train the last named block
    "VGG16": (32, "block5", "block4_pool"),
    "VGG19": (32, "block5", "block4_pool"),
    "ResNet50": (32, "conv5", "conv4_block6_out"),
    "InceptionV3": (75, "mixed9", "mixed8"),
    "Xception": (71, "block14", "add_11"),
    "MobileNetV2": (32, "block_16", "block_15_add"),
    "EfficientNetV2B0": (32, "block6h", "block6g_add"),
    "ConvNeXtTiny": (32, "convnext_tiny_stage_3", "add_14"),
}
QUICK = ("VGG16", "InceptionV3", "ConvNeXtTiny")  # a chain, branches, and layers that Keras numbers


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.full) for name in BACKBONES]
)
def test_every_network_is_split_where_it_can_be(name, pictures):
    """With Keras' own pre-processing and its own layers."""
    size, unfreeze, below = BACKBONES[name]
    keras.utils.set_random_seed(1)
    whole = keras_apps.network(name, (size, size))
    point = split_point.before(whole, unfreeze)
    assert point.below == below
    assert point.trained
    assert split_point.before(whole, "all").below is None
    last = split_point.before(whole, 2)
    assert len(last.trained) == 2
    assert set(last.trained) <= set(split_point.before(whole, 5).trained)
    pixels = np.stack([decode(path) for path in pictures[:3]]).astype(np.float32)
    model = keras_apps.feature_extractor(whole, name, (size, size), [below], "flatten")
    rows, maps = split_point.entry(whole, name, below)
    top = list(keras_apps.layer_outputs(whole))[-1]
    above = keras.Model(rows, split_point.features(whole, below, top, "flatten", maps))
    both = above(model(pixels)[below], training=False).numpy()
    module = sys.modules[getattr(keras.applications, name).__module__]
    resized = tf.image.resize(pixels, (size, size), antialias=True).numpy()
    expected = whole(module.preprocess_input(resized), training=False).numpy().reshape(3, -1)
    assert both.shape == expected.shape
    assert np.abs(both - expected).max() < 1e-3 * max(1.0, np.abs(expected).max())


def test_an_exact_name_comes_before_one_that_begins_with_it():
    whole = keras_apps.network("EfficientNetB0", (32, 32))
    assert split_point.before(whole, "block2a_dwconv").below == "block2a_dwconv_pad"
    assert split_point.before(whole, "block2a").trained[0] == "block2a_expand_conv"


def test_layers_have_the_same_names_in_every_process():
    """Also those that Keras numbers, however many networks were built before."""
    names = [list(keras_apps.layer_outputs(keras_apps.network("InceptionV3", (75, 75)))) for _ in range(2)]
    assert names[0] == names[1]
    assert names[0][:3] == ["conv2d", "batch_normalization", "activation"]
