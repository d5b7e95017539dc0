"""Fine-tuning VGG16 with ImageNet weights on real pictures; another network with random ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

from darkroom.backbones import keras_apps
from darkroom.core.errors import UserError
from darkroom.core.model_spec import BackboneSpec
from darkroom.images.decode import decode
from darkroom.images.folders import listed
from darkroom.models import head_model
from darkroom.models.classifier import Classifier
from darkroom.models.inputs import Features, Pictures
from darkroom.train import fine_tuning, fused_adam
from darkroom.train.batches import Batches
from darkroom.train.history import best_epoch
from darkroom.train.params import FineTune
from tests.helpers.pictures import CLASSES
from tests.helpers.training import descent, extracted, tuned

pytestmark = pytest.mark.usefixtures("tensorflow")
WEIGHTS = "data/features/backbone.weights.h5"


def weights_of(network):
    """Layer name to its arrays, of all layers that have any."""
    return {layer.name: layer.get_weights() for layer in network.layers if layer.weights}


@pytest.mark.full
@pytest.mark.parametrize("optimizer", [pytest.param("sgd", marks=pytest.mark.table), "adam"])
def test_training_above_the_split_point_equals_training_the_whole_network(vgg16, tmp_path, monkeypatch, optimizer):
    """Against Keras' own VGG16 from the pixels, frozen below: the same batches, the same first weights."""
    first = []
    fit_scale = head_model.fit_scale

    def scaling(head, features):
        fit_scale(head, features)
        first.extend(head.get_weights())

    monkeypatch.setattr(head_model, "fit_scale", scaling)
    rate = {"sgd": 1e-4, "adam": 1e-6}[optimizer]
    changes = {"optimizer": optimizer, "learning_rate": rate, "fine_tune": {"learning_rate": rate, "epochs": 1}}
    model, history, report = tuned(vgg16, tmp_path / "models", epochs=1, **changes)
    assert history["val_loss"] == sorted(history["val_loss"], reverse=True)  # so the last epoch's weights are kept
    assert report["cut"] == "block3_pool"
    assert report["trained_layers"] == [f"block{block}_conv{number}" for block in (4, 5) for number in (1, 2, 3)]

    own = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    own.load_weights(WEIGHTS)
    head = head_model.build(model.spec.head, 512, 3)
    head.set_weights(first)
    head.get_layer("one").finalize_state()
    whole = keras.Sequential([own, keras.layers.GlobalAveragePooling2D(), head])
    pictures = Pictures(listed("train"), (32, 32))
    pixels = keras.applications.vgg16.preprocess_input(pictures.rows())
    order = Batches(pictures, CLASSES, descent(batch_size=16), seed=1)

    def train(epochs):
        own_optimizer = {"sgd": keras.optimizers.SGD, "adam": fused_adam.Adam}[optimizer](rate)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        for epoch in range(epochs):
            for start in range(0, len(pixels), 16):
                rows = order.order(epoch)[start : start + 16]
                with tf.GradientTape() as tape:
                    value = loss(order.targets[rows], whole(pixels[rows], training=True))
                gradients = tape.gradient(value, whole.trainable_variables)
                own_optimizer.apply_gradients(zip(gradients, whole.trainable_variables, strict=True))

    own.trainable = False
    train(1)
    own.trainable = True
    for layer in own.layers:
        layer.trainable = layer.name.startswith(("block4", "block5"))
    before = weights_of(own)
    train(1)
    off = moved = 0.0
    for name, arrays in weights_of(model.backbone).items():
        for ours, expected, old in zip(arrays, own.get_layer(name).get_weights(), before[name], strict=True):
            off += float(((ours - expected) ** 2).sum())
            moved += float(((old - expected) ** 2).sum())
            assert (ours != old).any() == (name in report["trained_layers"])
    assert off**0.5 < 1e-4 * moved**0.5
    for ours, expected in zip(model.head.get_weights(), head.get_weights(), strict=True):
        assert np.abs(ours - expected).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "unfreeze", "below"),
    [
        pytest.param("MobileNetV2", "block_16", "block_15_add", marks=pytest.mark.full),
        pytest.param("ResNet50", "conv5", "conv4_block6_out", marks=[pytest.mark.full, pytest.mark.table]),
    ],
)
def test_with_batch_norm_the_two_are_equal_too(tuning, monkeypatch, name, unfreeze, below):
    """From the cached features and from the pixels; statistics of batch norm do not move."""
    backbone = extracted(backbone=name, weights="random", layers=[below])
    rates = {"learning_rate": 1e-4, "unfreeze": unfreeze, "epochs": 1}
    changes = {"epochs": 1, "learning_rate": 1e-6, "fine_tune": rates}  # so that the warm-up is not the best
    cached, history, report = tuned(backbone, tuning / "cached", **changes)
    assert best_epoch(history) >= report["warm_up_epochs"]
    assert report["cut"] == below
    monkeypatch.setattr(FineTune, "pixels_change", lambda self: True)
    whole, _, _ = tuned(backbone, tuning / "whole", **changes)
    start = keras_apps.network(name, (32, 32))
    start.load_weights(WEIGHTS)
    moved = 0.0
    of_cached, of_whole = weights_of(cached.backbone), weights_of(whole.backbone)
    for layer, arrays in weights_of(start).items():
        for ours, theirs, before in zip(of_cached[layer], of_whole[layer], arrays, strict=True):
            assert np.abs(ours - theirs).max() < 1e-5, layer
            if layer not in report["trained_layers"]:
                assert (ours == before).all(), layer
            moved = max(moved, float(np.abs(ours - before).max()))
    assert moved > 1e-4
    assert not any("bn" in layer.lower() for layer in report["trained_layers"])


def test_a_second_phase_that_diverges_costs_nothing(vgg16, tmp_path, capsys):
    """The loss is NaN from its first epoch on: the warm-up's model is kept, with the backbone as it was.

    Without a warm-up that is an error.
    """
    changes = {"optimizer": "sgd", "fine_tune": {"learning_rate": 1e10}}
    model, history, report = tuned(vgg16, tmp_path / "models", **changes)
    assert np.isnan(history["val_loss"][-1])
    assert len(history["loss"]) == report["warm_up_epochs"] + 1
    assert best_epoch(history) < report["warm_up_epochs"]
    assert "of the warm-up: the backbone stays as it was" in capsys.readouterr().out
    start = keras_apps.network("VGG16", (32, 32))
    start.load_weights(WEIGHTS)
    for layer, arrays in weights_of(start).items():
        for ours, before in zip(model.backbone.get_layer(layer).get_weights(), arrays, strict=True):
            assert (ours == before).all()
    changes["fine_tune"] |= {"warm_up": False}
    with pytest.raises(UserError, match="the loss is NaN or infinite from the first epoch on"):
        tuned(vgg16, tmp_path / "models", **changes)


KINDS = {
    "a block above the split point": ({}, {}, ("block3_pool",)),
    "two layers": ({"unfreeze": 2}, {"layers": ["block5_conv1"]}, ("block5_conv1",)),
    "another top": ({"top": "block4_conv3", "pooling": "max"}, {}, ("block3_pool",)),
    "all": ({"unfreeze": "all"}, {"layers": ["block5_pool"], "pooling": "avg"}, ()),
    "new pixels": ({"online": {"preset": "tutorial"}}, {}, ("block3_pool",)),
    "mixed": ({"mixup": 0.2, "cutmix": 1.0}, {"layers": ["block5_pool"], "pooling": "avg"}, ()),
    "reduced precision": ({}, {}, ("block3_pool",)),
}
MARKS = dict.fromkeys(KINDS, (pytest.mark.full, pytest.mark.table))
MARKS |= {"a block above the split point": (), "another top": (pytest.mark.full,), "new pixels": (pytest.mark.full,)}


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=marks) for kind, marks in MARKS.items()])
def test_a_saved_model_agrees_from_features_and_from_pixels(vgg16, tmp_path, kind):
    """Every kind learns; the model that is loaded from disk gives the same both ways, and is that of its best epoch."""
    settings, section, layers = KINDS[kind]
    backbone = extracted(**section) if section else vgg16
    precision = "mixed_bfloat16" if "precision" in kind else "float32"
    changes = {"fine_tune": {"epochs": 2, **settings}, "epochs": 5, "precision": precision}
    model, history, _ = tuned(backbone, tmp_path / "models", **changes)
    assert model.spec.layers == layers
    loaded = Classifier.load(tmp_path / "models")
    val = loaded.inputs("val")
    assert isinstance(val, Features if layers else Pictures)
    logits = loaded.logits(val)
    whole = loaded.whole()
    for row in (0, 11, 29):
        alone = whole(decode(tmp_path / val.paths[row])[None]).numpy()[0]
        assert np.abs(alone - np.exp(logits[row]) / np.exp(logits[row]).sum()).max() < 1e-3
    accuracy = (logits.argmax(axis=1) == val.numbers(CLASSES)).mean()
    best = history["val_accuracy"][best_epoch(history)]
    assert accuracy == pytest.approx(best, abs=0.04 if "precision" in kind else 1e-6)
    assert accuracy > 0.6  # chance is a third
    assert [history["learning_rate"][epoch] for epoch in (0, -1)] == pytest.approx([1e-3, 1e-5])


@pytest.mark.full
def test_an_epoch_may_be_a_part_of_a_pass(vgg16, tmp_path):
    """90 pictures in batches of 16 are six steps: two epochs of three are one of six. Without a warm-up, too."""
    files = []
    for every, epochs in ((None, 1), (3, 2)):
        settings = {"warm_up": False, "epochs": epochs}
        changes = {"validate_every": every, "epochs": 1, "keep": "last", "head": {"prepare": []}}
        _, history, report = tuned(vgg16, tmp_path / str(every), fine_tune=settings, **changes)
        assert (len(history["loss"]), report["warm_up_epochs"]) == (epochs, 0)
        files.append((tmp_path / f"{every}/backbone.weights.h5").read_bytes())
    assert files[0] == files[1]


@pytest.mark.full
def test_one_seed_gives_one_network(vgg16, tmp_path):
    changing = {"epochs": 1, "online": {"preset": "tutorial"}, "mixup": 0.2, "cutmix": 0.5, "learning_rate": 1e-5}
    files = []
    for number, seed in enumerate((1, 1, 2)):
        tuned(vgg16, tmp_path / str(number), seed=seed, fine_tune=changing)
        files.append((tmp_path / f"{number}/backbone.weights.h5").read_bytes())
    assert files[0] == files[1] != files[2]


@pytest.fixture(scope="module")
def network(tensorflow):
    return keras_apps.network("VGG16", (32, 32))


@pytest.mark.parametrize(
    ("pooling", "settings", "sentence"),
    [
        (
            "flatten",
            {"unfreeze": "block5"},
            r"trains the layers after block4_pool, .* set extract.layers to \[block4_pool\]",
        ),
        ("avg", {"unfreeze": "block4"}, r"set extract.layers to \[block3_pool\] and extract.pooling to flatten"),
        ("flatten", {"unfreeze": "block9"}, "no layer's name begins with block9; its layers are block1_conv1, block1_"),
        ("flatten", {"unfreeze": "block5_pool"}, "no layer has weights to train from block5_pool on"),
        ("flatten", {"unfreeze": "none"}, "unfreeze none trains the head alone, and no pictures change"),
        ("flatten", {"top": "block9"}, "train.fine_tune.top: VGG16 has no layer block9; it has block1_conv1, "),
        ("flatten", {"unfreeze": "block4", "top": "block3_pool"}, "is trained between block3_pool and top block3_pool"),
        ("flatten", {"unfreeze": "block4", "top": "block2_pool"}, "is trained between block3_pool and top block2_pool"),
    ],
)
def test_settings_that_do_not_fit_the_features_are_named(network, pooling, settings, sentence):
    backbone = BackboneSpec(backbone="VGG16", layers=("block3_pool",), pooling=pooling)
    with pytest.raises(UserError, match=sentence):
        fine_tuning.plan(network, FineTune(**settings), backbone)


def test_the_plan_of_changing_pixels_runs_all_of_the_network(network):
    """An evaluation, where pixels do not change, starts from the features all the same."""
    backbone = BackboneSpec(backbone="VGG16", layers=("block4_pool",), pooling="flatten")
    trained = [f"block5_conv{number}" for number in (1, 2, 3)]
    cached = fine_tuning.plan(network, FineTune(), backbone)
    assert cached == ("block4_pool", trained, "block5_pool", "block4_pool", "block4_pool")
    changing = fine_tuning.plan(network, FineTune(mixup=0.2), backbone)
    assert changing == ("block4_pool", trained, "block5_pool", None, "block4_pool")


def test_a_mirrored_model_is_trained_as_without_and_predicts_the_mean(vgg16, tmp_path):
    plain, mirrored = (
        tuned(vgg16, tmp_path / str(mirror), fine_tune={"mirror": mirror}).model for mirror in (False, True)
    )
    assert (mirrored.spec.layers, mirrored.spec.mirror) == ((), True)
    val = mirrored.inputs("val")
    pixels = val.rows(slice(0, 12))
    both = [plain.whole()(images, training=False).numpy() for images in (pixels, pixels[:, :, ::-1])]
    expected = softmax(np.log(both).mean(axis=0), axis=1)
    given = mirrored.whole()(pixels, training=False).numpy()
    assert np.abs(given - both[0]).max() > 1e-3
    assert given == pytest.approx(expected, abs=1e-4)
