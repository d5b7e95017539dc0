"""Networks that are trained from scratch: their layers, counted by hand, and what is done to pixels inside."""

import re

import keras
import numpy as np
import pytest
from PIL import Image

from darkroom.core.errors import UserError
from darkroom.images.decode import decode
from darkroom.models import networks
from darkroom.models.networks.base import BatchNorm, Grey
from darkroom.train.params import Params

pytestmark = pytest.mark.usefixtures("tensorflow")


def settings(name, size=(28, 28), color="grey", activation=None, **options):
    return {"name": name, "image_size": list(size), "color": color, "activation": activation, **options}


def residual_block(number, before, filters, shortcut):
    """Weights of a block of compact_resnet: batch norm, two convolutions without biases, squeeze and excitation."""
    return {
        f"batch_norm_{number}_1": 4 * before,
        **({f"shortcut_{number}": before * filters} if shortcut else {}),
        f"conv_{number}_1": 3 * 3 * before * filters,
        f"batch_norm_{number}_2": 4 * filters,
        f"conv_{number}_2": 3 * 3 * filters * filters,
        f"excite_{number}_1": filters * filters // 8 + filters // 8,
        f"excite_{number}_2": filters // 8 * filters + filters,
    }


# Weights of each layer that has any: kernels are height x width x inputs x outputs, and a bias for each output; batch
# norm has four numbers for each channel, of which two are trained.
BY_HAND = {
    "fashion_cnn": (
        settings("fashion_cnn"),
        10,
        {
            "conv_1_1": 3 * 3 * 1 * 16 + 16,
            "batch_norm_1_1": 4 * 16,
            "conv_1_2": 3 * 3 * 16 * 16 + 16,
            "batch_norm_1_2": 4 * 16,  # 28 - 2 - 2 = 24, halved 12
            "conv_2_1": 3 * 3 * 16 * 32 + 32,
            "batch_norm_2_1": 4 * 32,
            "conv_2_2": 3 * 3 * 32 * 32 + 32,
            "batch_norm_2_2": 4 * 32,  # 12 - 2 - 2 = 8, halved 4
            "dense_1": 4 * 4 * 32 * 512 + 512,
            "dense_2": 512 * 1024 + 1024,
            "logits": 1024 * 10 + 10,
        },
        814_970,
    ),
    "mnist_cnn": (
        settings("mnist_cnn"),
        10,
        {
            "conv_1": 5 * 5 * 1 * 32 + 32,
            "conv_2": 5 * 5 * 32 * 64 + 64,
            "dense": 7 * 7 * 64 * 1024 + 1024,
            "logits": 1024 * 10 + 10,
        },
        3_274_634,
    ),
    "mini_vggnet": (
        settings("mini_vggnet", (32, 32), "rgb"),
        3,
        {
            "conv_1_1": 3 * 3 * 3 * 32 + 32,
            "batch_norm_1_1": 4 * 32,
            "conv_1_2": 3 * 3 * 32 * 32 + 32,
            "batch_norm_1_2": 4 * 32,
            "conv_2_1": 3 * 3 * 32 * 64 + 64,
            "batch_norm_2_1": 4 * 64,
            "conv_2_2": 3 * 3 * 64 * 64 + 64,
            "batch_norm_2_2": 4 * 64,
            "dense": 8 * 8 * 64 * 512 + 512,
            "batch_norm": 4 * 512,
            "logits": 512 * 3 + 3,
        },
        2_167_587,
    ),
    "compact_resnet": (
        settings("compact_resnet", filters=16),
        10,
        {
            "stem": 3 * 3 * 1 * 16,
            **residual_block(1, 16, 16, shortcut=False),
            **residual_block(2, 16, 32, shortcut=True),
            **residual_block(3, 32, 32, shortcut=False),
            **residual_block(4, 32, 64, shortcut=True),
            **residual_block(5, 64, 64, shortcut=False),
            "batch_norm_last": 4 * 64,
            "logits": 64 * 10 + 10,
        },
        173_828,
    ),
    "dense": (
        settings("dense", (192, 192), "rgb"),
        5,
        {"dense_1": 192 * 192 * 3 * 500 + 500, "dense_2": 500 * 50 + 50, "logits": 50 * 5 + 5},
        55_321_805,
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_weights_are_as_many_as_worked_out_by_hand(name):
    settings_, classes, layers, total = BY_HAND[name]
    network = networks.build(settings_, classes)
    counted = {layer.name: layer.count_params() for layer in network.layers if layer.count_params()}
    assert counted == layers
    assert network.count_params() == sum(layers.values()) == total


def test_params_offer_the_networks_that_there_are():
    assert set(networks.names()) == {*BY_HAND, "small_resnet"}
    assert [Params(network=name).network for name in networks.names()] == networks.names()
    with pytest.raises(
        ValueError, match="should be 'compact_resnet', 'dense', 'fashion_cnn', 'mini_vggnet', 'mnist_cnn' or"
    ):
        Params(network="vgg")


def test_dropout_and_activations_are_those_of_the_originals():
    layers = networks.build(settings("fashion_cnn"), 10).layers
    assert [layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)] == [0.25, 0.25, 0.25, 0.5]
    order = [type(layer).__name__ for layer in networks.build(settings("mini_vggnet", (32, 32)), 3).layers[3:7]]
    assert order == ["Conv2D", "Activation", "BatchNorm", "Conv2D"]
    padding = {layer.padding for layer in layers if isinstance(layer, keras.layers.Conv2D)}
    assert padding == {"valid"}
    wide = networks.build(settings("mnist_cnn"), 10)
    assert [layer.rate for layer in wide.layers if isinstance(layer, keras.layers.Dropout)] == [0.5]


def test_the_wide_network_starts_as_its_original_and_takes_pixels_as_they_are():
    network = networks.build(settings("mnist_cnn"), 10)
    for name in ("conv_2", "dense", "logits"):
        kernel, bias = network.get_layer(name).get_weights()
        assert kernel.std() == pytest.approx(0.1, rel=0.05)
        assert abs(kernel.mean()) < 0.005
        assert (bias == 1).all()
    assert not any(isinstance(layer, keras.layers.Rescaling) for layer in network.layers)


@pytest.mark.parametrize("name", networks.names())
@pytest.mark.parametrize("color", ["rgb", "grey"])
def test_every_network_gives_logits_of_real_pictures(pictures, name, color):
    """Not normalised, one for each class, other for other pictures; near the same at reduced precision."""
    pixels = np.stack([decode(path) for path in pictures[::75]]).astype(np.float32)
    keras.utils.set_random_seed(1)
    network = networks.build(settings(name, color=color), 10)
    logits = network(pixels, training=False).numpy()
    assert logits.shape == (8, 10)
    assert np.isfinite(logits).all()
    assert len({row.tobytes() for row in logits}) == 8
    keras.utils.set_random_seed(1)
    reduced = networks.build(settings(name, color=color), 10, "mixed_bfloat16")
    assert reduced.get_layer("logits").compute_dtype == "float32"
    reduced.set_weights(network.get_weights())
    difference = np.abs(reduced(pixels, training=False).numpy() - logits).max()
    assert 0 < difference < 0.05 * np.abs(logits).max()


def test_grey_is_luma():
    pixels = np.random.default_rng(0).integers(0, 256, (1, 6, 5, 3)).astype(np.uint8)
    grey = Grey(dtype="float32")(pixels.astype(np.float32)).numpy()
    assert np.abs(grey[0, ..., 0] - np.asarray(Image.fromarray(pixels[0]).convert("L"))).max() <= 0.51  # it rounds
    same = np.full((1, 2, 2, 3), 77, np.float32)
    assert Grey(dtype="float32")(same).numpy() == pytest.approx(77, abs=1e-4)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "leaky_relu"])
def test_the_activation_is_the_one_that_is_asked_for(activation):
    for name in networks.names():
        layers = networks.build(settings(name, activation=activation), 10).layers
        gates = [layer for layer in layers if re.fullmatch("excite_._2", layer.name)]  # always between 0 and 1
        used = {layer.activation for layer in layers if hasattr(layer, "activation") and layer not in gates}
        used -= {keras.activations.linear}
        assert used == {keras.activations.get(activation)}, name


def test_pictures_that_are_too_small_are_named():
    with pytest.raises(UserError, match=r"train.scratch.image_size \[12, 12\] is too small for fashion_cnn"):
        networks.build(settings("fashion_cnn", (12, 12)), 10)


def test_fused_batch_norm_is_keras_own():
    """Outputs, gradients and statistics; and in a prediction."""
    import tensorflow as tf

    maps = tf.constant(np.random.default_rng(0).normal(3, 2, (16, 7, 7, 8)).astype(np.float32))
    results = []
    for kind in (keras.layers.BatchNormalization, BatchNorm):
        layer = kind()
        layer.build(maps.shape)
        with tf.GradientTape() as tape:
            tape.watch(maps)
            normal = layer(maps, training=True)
            loss = tf.reduce_sum(normal**3)
        gradients = tape.gradient(loss, [maps, *(variable.value for variable in layer.trainable_variables)])
        results.append([normal, *gradients, *layer.get_weights(), layer(maps, training=False)])
    for ours, theirs in zip(results[1], results[0], strict=True):
        assert np.abs(ours - theirs).max() <= 2e-5 * max(1, np.abs(theirs).max())


def test_options_change_the_networks_that_have_them():
    """Large pictures are halved at once; a wrong option is refused before the training."""
    wide, narrow = (networks.build(settings("compact_resnet", filters=filters), 10) for filters in (None, 16))
    assert wide.get_layer("conv_1_1").filters == 2 * narrow.get_layer("conv_1_1").filters == 32
    large = networks.build(settings("compact_resnet", (64, 64), filters=16), 10)
    assert [network.get_layer("stem").output.shape[1] for network in (narrow, large)] == [28, 32]
    deep = networks.build(settings("compact_resnet", stochastic_depth=0.5), 10)
    assert [deep.get_layer(f"depth_{block}").rate for block in range(1, 6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    pixels = np.random.default_rng(0).uniform(0, 255, (64, 14, 14, 64)).astype(np.float32)
    kept = deep.get_layer("depth_5")(pixels, training=True).numpy().reshape(64, -1)
    assert set(np.unique(np.any(kept, axis=1))) == {False, True}  # whole blocks, picture by picture
    assert (kept == np.where(np.any(kept, axis=1, keepdims=True), 2 * pixels.reshape(64, -1), 0)).all()
    with pytest.raises(
        ValueError, match=r"scratch.filters is for network compact_resnet, not for mini_vggnet: remove it"
    ):
        Params(mode="scratch", network="mini_vggnet", scratch={"filters": 8})
    with pytest.raises(ValueError, match=r"scratch.stochastic_depth is for network compact_resnet, not for dense"):
        Params(mode="scratch", network="dense", scratch={"stochastic_depth": 0.1})
