"""Grad-CAM on real pictures: the heat lies where the object is, and gradients agree with finite differences."""

import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

from darkroom.backbones import keras_apps
from darkroom.core.errors import UserError
from darkroom.core.model_spec import BackboneSpec, TunedSpec
from darkroom.evaluate.grad_cam import Explainer, layer_of_maps, overlay
from darkroom.images.decode import decode
from darkroom.images.folders import listed
from darkroom.models.classifier import Classifier
from tests.helpers.pictures import CLASSES, write_splits
from tests.helpers.training import extracted, head_on_features, model_spec, untrained

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.fixture(scope="module")
def few(fashion, tmp_path_factory):
    """A split project as the current folder: of each of three classes 12 pictures in train, 4 in val, 1 in test."""
    folder = tmp_path_factory.mktemp("few")
    write_splits(folder, fashion / "train", 12, 4, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def agrees(maps, slopes, score, step):
    """The steepest slopes are those that differences of the score give, and so is the one along the gradient.

    Places at 0 do not count: maps are never below 0, and the largest of several zeros stays what it is.
    """
    slopes = slopes * (maps > 2 * step)
    steepest = np.argsort(-np.abs(slopes).ravel())[:3]
    directions = [np.eye(1, slopes.size, place).reshape(slopes.shape) for place in steepest]
    for direction in (*directions, slopes / np.linalg.norm(slopes)):
        difference = (score(maps + step * direction) - score(maps - step * direction)) / (2 * step)
        assert difference != 0
        assert difference == pytest.approx(float((slopes * direction).sum()), rel=0.05)


@pytest.mark.parametrize(
    ("pooling", "layers", "heads"),
    [
        ("flatten", ["block3_pool"], {"dense": ["block3_pool"]}),
        ("avg", ["block2_pool", "block3_pool"], {"logistic": ["block3_pool"], "linear_svm": None}),
        ("max", ["block3_pool", "block2_pool"], {"rbf_svm": None}),
    ],
)
def test_the_gradient_of_a_head_is_that_of_finite_differences(few, pooling, layers, heads):
    """The maps are those of the deepest layer, whatever the order; the other layer is held constant."""
    backbone, pixels, size = extracted(layers=layers, pooling=pooling), decode(listed("test")[0].path), (32, 32)
    for kind, own_layers in heads.items():
        seen = tuple(own_layers or layers)
        model = head_on_features(kind, backbone.model_copy(update={"layers": seen}))
        maps, slopes = Explainer(model).gradient(pixels, 1)
        extractor = keras_apps.feature_extractor(model.backbone, "VGG16", size, ["block3_pool"], "flatten")
        assert maps == pytest.approx(extractor(pixels[None])["block3_pool"].numpy().reshape(4, 4, 256), abs=1e-4)
        pool = {"flatten": np.ravel, "avg": lambda m: m.mean(axis=(0, 1)), "max": lambda m: m.max(axis=(0, 1))}[pooling]
        features = keras_apps.feature_extractor(model.backbone, "VGG16", size, list(seen), pooling)(pixels[None])

        def score(changed, model=model, seen=seen, pool=pool, features=features):
            rows = [pool(changed) if layer == "block3_pool" else features[layer].numpy()[0] for layer in seen]
            return float(model.head(np.concatenate(rows)[None].astype(np.float32))[0, 1])

        # A mean takes a large step, and needs one; another place must not become the largest.
        agrees(maps, slopes, score, step=(0.2 if pooling == "avg" else 0.01) * float(maps.std()))


def test_heat_lies_where_the_object_is(few, fashion, tmp_path, monkeypatch):
    """Each picture stands in a corner of a grey canvas twice its size; by chance it would have a quarter."""
    for name in ("data", "reports"):
        shutil.copytree(few / name, tmp_path / name, ignore=shutil.ignore_patterns("features"))
    monkeypatch.chdir(tmp_path)
    for number, (path, _) in enumerate(listed("train") + listed("val") + listed("test")):
        Image.fromarray(in_a_corner(decode(path), number % 4)).save(path)
    backbone = extracted(image_size=[64, 64], pooling="avg")
    bags = [decode(path) for path in sorted((fashion / "train/Bag").iterdir())[50:54]]
    for kind in ("logistic", "dense"):
        explainer, inside = Explainer(head_on_features(kind, backbone)), []
        for number, pixels in enumerate(bags):
            heat = explainer.heat(in_a_corner(pixels, number % 4), CLASSES.index("Bag"))
            inside.append(heat[corner(number % 4)].sum() / heat.sum())
        assert np.mean(inside) > 0.5
        assert min(inside) > 0.3


def corner(number):
    row, column = divmod(number, 2)
    return slice(28 * row, 28 * row + 28), slice(28 * column, 28 * column + 28)


def in_a_corner(pixels, number):
    canvas = np.full((56, 56, 3), 128, np.uint8)
    canvas[corner(number)] = pixels
    return canvas


def test_a_feature_that_is_zero_spoils_nothing(few):
    """The square root has an infinite slope there, and most values of block3_pool are 0."""
    model = head_on_features("logistic", pooling="flatten")
    maps, slopes = Explainer(model).gradient(decode(listed("test")[0].path), 0)
    assert (maps == 0).mean() > 0.1
    assert np.isfinite(slopes).all()
    assert (slopes != 0).mean() > 0.1


def test_a_fine_tuned_model_is_explained_through_its_last_layers(few):
    """block5_pool is 1x1 for pictures of 32x32, so the maps are those before it."""
    model = head_on_features("dense", layers=["block5_pool"], pooling="max")
    tuned = TunedSpec(start="block3_pool", top="block5_pool", pooling="max")
    model = replace(model, spec=model.spec.model_copy(update={"layers": ("block3_pool",), "tuned": tuned}))
    pixels = decode(listed("test")[0].path)
    explainer = Explainer(model)
    maps, slopes = explainer.gradient(pixels, 2)
    assert maps.shape == (2, 2, 512)
    below = keras_apps.feature_extractor(model.backbone, "VGG16", (32, 32), ["block5_conv3"], "flatten")
    assert maps == pytest.approx(below(pixels[None])["block5_conv3"].numpy().reshape(2, 2, 512), abs=1e-4)
    agrees(maps, slopes, lambda m: float(model.head(m.max(axis=(0, 1))[None].astype(np.float32))[0, 2]), step=1e-2)
    assert explainer.heat(pixels, 2).shape == (28, 28)


@pytest.mark.parametrize(
    ("name", "color", "last", "shape"),
    [
        ("fashion_cnn", "rgb", "dropout_2", (4, 4, 32)),
        ("mnist_cnn", "grey", "pool_2", (7, 7, 64)),
        ("mini_vggnet", "rgb", "dropout_2", (7, 7, 64)),
        ("small_resnet", "grey", "activation_last", (7, 7, 128)),
    ],
)
def test_a_network_from_scratch_has_the_maps_of_its_last_layer(pictures, name, color, last, shape):
    model = untrained(name, color=color)
    assert layer_of_maps(model.head, [model.head.layers[-1].name]) == last
    maps, slopes = Explainer(model).gradient(decode(pictures[0]), 1)
    assert maps.shape == slopes.shape == shape
    above = keras.Model(model.head.get_layer(last).output, model.head.output)
    score = lambda changed: float(above(changed[None].astype(np.float32), training=False)[0, 1])  # noqa: E731
    agrees(maps, slopes, score, step=1e-2 * float(maps.std()))


def test_of_two_classes_each_has_its_own_heat(pictures):
    """Since a head with one sigmoid has no logit for the first class, the difference of the two is explained."""
    explainer = Explainer(untrained("fashion_cnn", classes=["a", "b"]))
    first, second = (explainer.gradient(decode(pictures[0]), number)[1] for number in (0, 1))
    assert np.abs(first).max() > 0
    assert first == pytest.approx(-second)


@pytest.mark.parametrize("kind", ["knn", "tree", "forest"])
def test_heads_without_gradient_are_refused(kind):
    backbone = BackboneSpec(backbone="VGG16", image_size=(32, 32))
    with pytest.raises(UserError, match=f"a head of type {kind} has none: set train.head.type to one of .*dense"):
        Explainer(Classifier(model_spec({"type": kind}, backbone=backbone, layers=("block3_pool",)), None, None))


def test_a_network_without_convolutions_is_refused():
    with pytest.raises(UserError, match="larger than 1x1, and the network dense has none up to logits"):
        Explainer(untrained("dense"))


def test_heat_fits_the_picture(pictures):
    explainer = Explainer(untrained("fashion_cnn"))
    for shape in ((28, 28), (37, 61), (200, 90)):
        pixels = np.asarray(Image.fromarray(decode(pictures[0])).resize(shape[::-1]))
        heat = explainer.heat(pixels, 0)
        assert heat.shape == shape
        assert heat.dtype == np.float32
        assert heat.min() >= 0
        assert heat.max() in (0, 1)
        blended = overlay(pixels, heat)
        assert blended.shape == (*shape, 3)
        assert blended.dtype == np.uint8


def test_an_overlay_is_red_where_it_is_hot():
    pixels = np.full((1, 3, 3), 100, np.uint8)
    cold, warm, hot = overlay(pixels, np.array([[0.0, 0.5, 1.0]], np.float32))[0].astype(int)
    assert cold[2] > cold[0]
    assert warm[1] > max(cold[1], hot[1])
    assert hot[0] > hot[2]


def test_what_speaks_against_a_class_stays_cold(monkeypatch):
    maps = np.array([[[1.0], [-2.0]], [[0.0], [0.5]]], np.float32)
    monkeypatch.setattr(Explainer, "gradient", lambda *_: (maps, np.ones_like(maps)))
    heat = Explainer.heat(object.__new__(Explainer), np.zeros((2, 2, 3), np.uint8), 0)
    assert heat.tolist() == [[1.0, 0.0], [0.0, 0.5]]
