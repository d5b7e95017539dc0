import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml

from darkroom.backbones import keras_apps, vgg16_mirror, weights
from darkroom.core.errors import UserError
from darkroom.core.hashing import arrays_sha256
from darkroom.core.params import Base
from darkroom.images.decode import decode
from darkroom.models.inputs import Features
from stages import extract
from tests.helpers.project import ROOT, run

SMALL = {"image_size": [32, 32], "layers": ["block2_pool"], "pooling": "flatten", "precision": "float32"}


def params(**changes):
    section = yaml.safe_load((ROOT / "params.yaml").read_text())["extract"]
    return extract.Params(**{**section, **SMALL, **changes})


def built(name, size, layers, pooling, precision="float32", source="random"):
    network = keras_apps.network(name, size, precision)
    model = keras_apps.body(network, name, size, layers, pooling)
    weights.fill(network, name, source)
    return model


@pytest.fixture
def split(workspace, fashion):
    """A split project: 40 pictures in train, 20 in val and in test, two new ones that augment made."""
    for label in ("Bag", "Coat"):
        files = sorted((fashion[0] / "train" / label).iterdir())
        parts = (("split/train", files[:20]), ("split/val", files[20:30]), ("split/test", files[30:40]))
        for part, chosen in (*parts, ("augmented", files[40:41])):
            (workspace / "data" / part / label).mkdir(parents=True)
            for path in chosen:
                shutil.copy(path, workspace / "data" / part / label)
    (workspace / "data/augmented/.left_out.csv").write_text("picture\n")
    return workspace


@pytest.mark.parametrize("shape", [(28, 28), (64, 64), (200, 131), (33, 500)])
def test_resizing_is_tensorflows_with_antialiasing(shape):
    pixels = np.random.default_rng(1).integers(0, 256, (2, *shape, 3)).astype(np.float32)
    expected = tf.image.resize(pixels, (64, 48), antialias=True).numpy()
    assert np.abs(keras_apps.Resize((64, 48))(pixels).numpy() - expected).max() < 2e-3
    again = keras_apps.Resize((64, 48))(expected).numpy()
    assert np.abs(again - expected).max() < 1e-4  # a picture of the right size stays as it is


def test_vgg16_features_are_keras_own(pictures):
    """The same layer of keras.applications.VGG16 with its own pre-processing and the pinned weights."""
    model = built("VGG16", (64, 64), ["block4_pool"], "flatten", source="imagenet")
    own = keras.applications.VGG16(include_top=False, weights=None, input_shape=(64, 64, 3))
    trunk = model.get_layer("trunk")
    own.set_weights([*trunk.get_weights(), *own.get_weights()[len(trunk.get_weights()) :]])
    pixels = np.stack([decode(path) for path in pictures[:8]]).astype(np.float32)
    resized = tf.image.resize(pixels, (64, 64), antialias=True)
    cut = keras.Model(own.input, own.get_layer("block4_pool").output)
    expected = cut(keras.applications.vgg16.preprocess_input(resized.numpy())).numpy().reshape(8, -1)
    features = model(pixels)["block4_pool"].numpy()
    assert features.shape == (8, 8192)
    assert np.abs(features - expected).max() < 1e-3 * np.abs(expected).max()


def test_keras_own_weights_come_first(tmp_path, monkeypatch):
    """Where Keras has the file, in its cache or from its host, no mirror is asked."""
    arrays = vgg16_mirror.arrays(tmp_path)
    whole = keras.applications.VGG16(include_top=False, weights=None)
    whole.set_weights([array * 2 for array in arrays])
    whole.save_weights(tmp_path / "keras.weights.h5")
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(tmp_path / "keras.weights.h5"))
    monkeypatch.setattr(vgg16_mirror, "arrays", lambda folder: pytest.fail("a mirror was asked"))
    model = built("VGG16", (32, 32), ["block1_pool"], "avg", source="imagenet")
    assert (model.get_layer("trunk").get_weights()[0] == arrays[0] * 2).all()


def test_weights_that_nobody_has_are_named(monkeypatch):
    def fails(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fails)
    with pytest.raises(UserError, match=r"ImageNet weights of MobileNetV2 cannot be reached \(no route to host\): set"):
        built("MobileNetV2", (32, 32), ["block_1_expand_relu"], "avg", source="imagenet")


def test_vgg16_weights_are_imagenets():
    """First values of the ImageNet model as they are published."""
    model = built("VGG16", (32, 32), ["block5_pool"], "avg", source="imagenet")
    weights = model.get_layer("trunk").get_weights()
    assert weights[0].ravel()[0] == np.float32(0.42947057)
    assert weights[1].ravel()[0] == np.float32(0.73429835)
    assert weights[-2].ravel()[0] == np.float32(0.00040788297)
    assert weights[-1].ravel()[0] == np.float32(0.18837857)
    assert arrays_sha256(weights) == vgg16_mirror.ARRAYS_SHA256


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_features_do_not_depend_on_the_neighbours(pictures, precision):
    model = built("VGG16", (32, 32), ["block3_pool"], "flatten", precision, source="imagenet")

    def rows(paths):
        return np.concatenate([batch["block3_pool"] for batch in extract.compute(model, paths, (32, 32), precision)])

    chosen = pictures[::12]  # 50 pictures of all classes: a whole batch and a part of one
    there, back = rows(chosen), rows(chosen[::-1])
    assert there.shape == (50, 4 * 4 * 256)
    assert there.dtype == (np.float32 if precision == "float32" else np.float16)
    assert (there == back[::-1]).all()


def test_reduced_precision_is_near(pictures):
    features = {}
    for precision in ("float32", "mixed_bfloat16"):
        model = built("VGG16", (64, 64), ["block4_pool"], "flatten", precision, source="imagenet")
        features[precision] = next(extract.compute(model, pictures[:32], (64, 64), precision))["block4_pool"]
    exact, near = features["float32"], features["mixed_bfloat16"].astype(np.float32)
    assert np.linalg.norm(near - exact) < 0.02 * np.linalg.norm(exact)


def test_rows_layers_and_labels_stand_where_they_should(split):
    extract.main(Base(seed=1), params(layers=["block1_pool", "block2_pool"]))
    train = Features(split / "data/features", "train", ["block1_pool", "block2_pool"])
    assert train.rows().shape == (42, 16 * 16 * 64 + 8 * 8 * 128)
    assert train.labels == ["Bag"] * 20 + ["Coat"] * 20 + ["Bag", "Coat"]
    assert train.paths[-1].startswith("data/augmented/Coat/")
    assert len(Features(split / "data/features", "val", ["block1_pool"])) == 20
    report = json.loads((split / "reports/extract.json").read_text())
    assert report["features"] == 16 * 16 * 64 + 8 * 8 * 128
    model = built("VGG16", (32, 32), ["block1_pool"], "flatten")
    model.get_layer("trunk").set_weights(mirrors_first(4))
    expected = model(decode(split / train.paths[33])[None].astype(np.float32))["block1_pool"].numpy()
    assert np.abs(train.rows(np.array([33]))[:, : 16 * 16 * 64] - expected).max() < 1e-2


def mirrors_first(count):
    model = built("VGG16", (32, 32), ["block5_pool"], "avg", source="imagenet")
    return model.get_layer("trunk").get_weights()[:count]


def test_a_picture_goes_through_a_network_once(split, monkeypatch, capsys):
    asked = []
    compute = extract.compute
    monkeypatch.setattr(
        extract, "compute", lambda model, paths, *rest: asked.append(paths) or compute(model, paths, *rest)
    )
    extract.main(Base(seed=1), params())
    first = (split / "data/features/train.block2_pool.npy").read_bytes()
    shutil.copy(split / "data/split/test/Bag" / sorted(p.name for p in (split / "data/split/test/Bag").iterdir())[0],
                split / "data/split/train/Bag/zz_twin.png")  # fmt: skip
    extract.main(Base(seed=1), params())
    extract.main(Base(seed=1), params(image_size=[40, 40]))
    assert [len(paths) for paths in asked] == [82, 0, 82]
    (split / "data/split/train/Bag/zz_twin.png").unlink()
    extract.main(Base(seed=1), params())
    assert (split / "data/features/train.block2_pool.npy").read_bytes() == first


def test_features_of_other_code_are_not_taken(split, tmp_path):
    """An edit of the pre-processing makes the cached features worthless."""
    shutil.copytree(ROOT / "stages", tmp_path / "edited/stages")
    script = tmp_path / "edited/stages/common/models/backbone.py"
    script.write_text(script.read_text().replace("preprocess_input(pixels,", "preprocess_input(pixels / 2,"))
    found = []
    for root in (ROOT, tmp_path / "edited"):
        run("python", "-m", "stages.extract", cwd=split, PYTHONPATH=str(root))
        found.append((split / "data/features/test.block4_pool.npy").read_bytes())
    assert found[0] != found[1]


def test_no_backbone_is_an_empty_output(split):
    extract.main(Base(seed=1), params(backbone=None))
    assert json.loads((split / "reports/extract.json").read_text()) == {"backbone": None}
    assert not list((split / "data/features").glob("*.npy"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"backbone": "VGG61"}, "extract.backbone VGG61 is not in keras.applications: choose one of ConvNeXtBase, "),
        ({"layers": ["block9_pool"]}, "VGG16 has no layer block9_pool; it has block1_conv1, block1_conv2, block1_pool"),
        ({"image_size": [8, 8]}, r"extract.image_size \[8, 8\] does not suit VGG16"),
    ],
)
def test_what_does_not_fit_is_named(split, change, sentence):
    with pytest.raises(UserError, match=sentence):
        extract.main(Base(seed=1), params(**change))
    assert not (split / "data/features").exists()


def test_random_weights_follow_the_seed(split):
    digests = []
    for seed in (1, 1, 2):
        extract.main(Base(seed=seed), params(backbone="MobileNetV2", weights="random", layers=["block_3_expand_relu"]))
        digests.append(json.loads((split / "reports/extract.json").read_text())["weights_sha256"])
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.full
def test_a_killed_extraction_goes_on_and_ends_the_same(split, fashion):
    """SIGKILL as soon as the first features are kept: the next run computes the rest, and the bytes are the same."""
    import os
    import signal
    import subprocess
    import sys
    import time

    for label in ("Bag", "Coat", "Dress"):
        shutil.copytree(fashion[0] / "test" / label, split / "data/split/test" / label, dirs_exist_ok=True)
    content = yaml.safe_load((split / "params.yaml").read_text())
    content["extract"] |= {**SMALL, "pooling": "avg"}
    (split / "params.yaml").write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "stages.extract"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    process = subprocess.Popen(command, cwd=split, env=environment, stdout=subprocess.DEVNULL)
    while not list(split.glob(".cache/features/*/*.npz")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (split / "data/features").exists()
    kept = len(list(split.glob(".cache/features/*/*.npz")))

    done = run("python", "-m", "stages.extract", cwd=split, PYTHONPATH=str(ROOT))
    total = len({path.read_bytes() for path in (split / "data").rglob("*.png")})
    assert f"extract: {total - kept * extract.CHUNK:,} pictures in" in done.stdout
    resumed = {path.name: path.read_bytes() for path in (split / "data/features").iterdir()}
    shutil.rmtree(split / ".cache")
    run("python", "-m", "stages.extract", cwd=split, PYTHONPATH=str(ROOT))
    assert resumed == {path.name: path.read_bytes() for path in (split / "data/features").iterdir()}
