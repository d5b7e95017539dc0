"""Fine-tuning, and the cut: on real pictures, with VGG16's ImageNet weights; other networks with random ones."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml

from darkroom.backbones import keras_apps
from darkroom.core import runtime
from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.core.params import Base
from darkroom.images.decode import decode
from darkroom.images.folders import listed
from darkroom.models import heads, split_point
from darkroom.models.inputs import Features, Pictures
from darkroom.train import loop
from darkroom.train.batches import Batches, ChangedPictures
from darkroom.train.params import FineTune, Pixels
from stages import extract, train
from tests.helpers.pictures import CLASSES
from tests.helpers.project import ROOT
from tests.helpers.training import descent, session

BACKBONES = {  # a size that suits the network, and where it is cut to train the last named block
    "VGG16": (32, "block5", "block4_pool"),
    "VGG19": (32, "block5", "block4_pool"),
    "ResNet50": (32, "conv5", "conv4_block6_out"),
    "InceptionV3": (75, "mixed9", "mixed8"),
    "Xception": (71, "block14", "add_11"),
    "MobileNetV2": (32, "block_16", "block_15_add"),
    "EfficientNetV2B0": (32, "block6h", "block6g_add"),
    "ConvNeXtTiny": (32, "convnext_tiny_stage_3", "add_14"),
}


def extracted(**changes):
    """Run the stage `extract` at float32, so that nothing but rounding differs."""
    section = yaml.safe_load((ROOT / "params.yaml").read_text())["extract"]
    small = {"image_size": [32, 32], "layers": ["block3_pool"], "pooling": "flatten", "precision": "float32"}
    extract.main(Base(seed=1), extract.Params(**{**section, **small, **changes}))
    return json.loads(Path("reports/extract.json").read_text())


def tuned(report, folder, seed=1, **changes):
    """What `train.fine_tune` gives: the model, its history, and what the report says besides."""
    how = {"unfreeze": "block4", "epochs": 2, "learning_rate": 1e-5, "batch_size": 16} | changes.pop("fine_tune", {})
    head = {"type": "dense", "hidden": [16], "dropout": 0.0} | changes.pop("head", {})
    known = {"mode": "fine_tune", "head": head, "epochs": 2, "patience": 9, "batch_size": 16, "optimizer": "adam"}
    params = train.Params(**{**known, "learning_rate": 0.001, "fine_tune": how, **changes})
    runtime.prepare(seed)
    folder.mkdir(parents=True, exist_ok=True)
    model, history, more = train.fine_tune(params, report, session(seed), folder)
    model.settings["temperature"] = 1.0
    model.save(folder)
    return model, history, more


def weights_of(model):
    """Layer name to its arrays, of all layers of the network that have any."""
    return {layer.name: layer.get_weights() for layer in model.network.layers if layer.weights}


@pytest.mark.parametrize("optimizer", [pytest.param("sgd", marks=pytest.mark.full), "adam"])
def test_the_cut_equals_the_whole_model_with_the_frozen_part_frozen(tuning, monkeypatch, optimizer):
    """Against Keras' own VGG16 from the pixels: the same batches, the same first weights, two epochs each."""
    report = extracted()
    first = []
    fit_scale = heads.fit_scale

    def scaling(head, features):
        fit_scale(head, features)
        first.extend(head.get_weights())

    monkeypatch.setattr(heads, "fit_scale", scaling)
    rate = {"sgd": 1e-4, "adam": 1e-6}[optimizer]
    settled = {"optimizer": optimizer, "learning_rate": rate, "fine_tune": {"learning_rate": rate}}
    model, history, more = tuned(report, tuning / "models", **settled)
    assert history["val_loss"] == sorted(history["val_loss"], reverse=True)  # so the last epoch's weights stayed
    assert more["cut"] == "block3_pool"
    assert more["trained_layers"] == [f"block{block}_conv{number}" for block in (4, 5) for number in (1, 2, 3)]

    own = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    own.load_weights(tuning / "data/features/backbone.weights.h5")
    settings = model.settings["head"]
    head = heads.build(settings, 512, 3)
    head.set_weights(first)
    head.get_layer("one").finalize_state()
    whole = keras.Sequential([own, keras.layers.GlobalAveragePooling2D(), head])
    pictures = Pictures(listed("train"), (32, 32))
    pixels = keras.applications.vgg16.preprocess_input(pictures.rows())
    order = Batches(pictures, CLASSES, descent(batch_size=16), seed=1)
    labels = order.one_hot

    def epochs(count):
        own_optimizer = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}[optimizer](rate)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        for epoch in range(count):
            for start in range(0, len(pixels), 16):
                rows = order.order(epoch)[start : start + 16]
                with tf.GradientTape() as tape:
                    value = loss(labels[rows], whole(pixels[rows], training=True))
                gradients = tape.gradient(value, whole.trainable_variables)
                own_optimizer.apply_gradients(zip(gradients, whole.trainable_variables, strict=True))

    own.trainable = False
    epochs(2)
    own.trainable = True
    for layer in own.layers:
        layer.trainable = layer.name.startswith(("block4", "block5"))
    before = {layer.name: layer.get_weights() for layer in own.layers}
    epochs(2)
    off = moved = 0.0
    for name, arrays in weights_of(model).items():
        for ours, expected, old in zip(arrays, own.get_layer(name).get_weights(), before[name], strict=True):
            off += float(((ours - expected) ** 2).sum())
            moved += float(((old - expected) ** 2).sum())
            assert (ours != old).any() == (name in more["trained_layers"])
    assert off**0.5 < 1e-4 * moved**0.5
    for ours, expected in zip(model.head.get_weights(), head.get_weights(), strict=True):
        assert np.abs(ours - expected).max() < 1e-4


@pytest.mark.parametrize("name", ["MobileNetV2", pytest.param("ResNet50", marks=pytest.mark.full)])
def test_with_batch_norm_the_cut_equals_the_whole_too(tuning, monkeypatch, name):
    """The same training from the cached features and from the pixels; statistics of batch norm do not move."""
    size, unfreeze, below = BACKBONES[name]
    report = extracted(backbone=name, weights="random", layers=[below])
    rates = {"learning_rate": 1e-4, "unfreeze": unfreeze}
    settled = {"epochs": 1, "learning_rate": 1e-6, "fine_tune": rates}  # so that the warm-up is not the best
    one, history, more = tuned(report, tuning / "one", **settled)
    assert int(np.argmin(history["val_loss"])) >= more["warm_up_epochs"]
    monkeypatch.setattr(FineTune, "pixels_change", lambda self: True)
    other, _, _ = tuned(report, tuning / "other", **settled)
    assert more["cut"] == below
    start = keras_apps.network(name, (size, size))
    start.load_weights(tuning / "data/features/backbone.weights.h5")
    moved = 0.0
    for layer in start.layers:
        if not layer.weights:
            continue
        pairs = zip(weights_of(one)[layer.name], weights_of(other)[layer.name], layer.get_weights(), strict=True)
        for ours, theirs, before in pairs:
            assert np.abs(ours - theirs).max() < 1e-5, layer.name
            if layer.name not in more["trained_layers"]:
                assert (ours == before).all(), layer.name
            moved = max(moved, float(np.abs(ours - before).max()))
    assert moved > 1e-4
    assert not any("bn" in layer.lower() for layer in more["trained_layers"])


@pytest.mark.parametrize("name", BACKBONES)
def test_every_network_is_cut_where_it_can_be(name, pictures):
    """Below and above the cut together are the whole, with Keras' own pre-processing and its own layers."""
    size, unfreeze, below = BACKBONES[name]
    keras.utils.set_random_seed(1)
    whole = keras_apps.network(name, (size, size))
    found, trained = split_point.before(whole, unfreeze)
    assert found == below
    assert trained
    assert split_point.before(whole, "all")[0] is None
    last = split_point.before(whole, 2)
    assert len(last.trained) == 2
    assert set(last.trained) <= set(split_point.before(whole, 5).trained)
    pixels = np.stack([decode(path) for path in pictures[:3]]).astype(np.float32)
    model = keras_apps.body(whole, name, (size, size), [below], "flatten")
    rows, maps = split_point.entry(whole, name, below)
    top = list(keras_apps.outputs(whole))[-1]
    above = keras.Model(rows, split_point.features(whole, below, top, "flatten", maps))
    both = above(model(pixels)[below], training=False).numpy()
    module = sys.modules[getattr(keras.applications, name).__module__]
    resized = tf.image.resize(pixels, (size, size), antialias=True).numpy()
    expected = whole(module.preprocess_input(resized), training=False).numpy().reshape(3, -1)
    assert both.shape == expected.shape
    assert np.abs(both - expected).max() < 1e-3 * max(1.0, np.abs(expected).max())


def test_names_of_layers_are_the_same_in_every_process():
    """Those that Keras numbers too, however many networks were built before."""
    assert list(keras_apps.outputs(keras_apps.network("InceptionV3", (75, 75))))[:3] == [
        "conv2d", "batch_normalization", "activation"
    ]  # fmt: skip
    names = [list(keras_apps.outputs(keras_apps.network("Xception", (71, 71)))) for _ in range(2)]
    assert names[0] == names[1]


def test_the_epoch_that_is_best_on_val_stays(tuning):
    """A rate at which the network falls apart: then the warm-up's model is kept, and nothing of the network changed."""
    report = extracted()
    model, history, more = tuned(report, tuning / "models", fine_tune={"learning_rate": 0.03})
    assert len(history["loss"]) == more["warm_up_epochs"] + 2
    assert loop.best(history) < more["warm_up_epochs"]
    start = keras_apps.network("VGG16", (32, 32))
    start.load_weights(tuning / "data/features/backbone.weights.h5")
    for layer in start.layers:
        for ours, before in zip(model.network.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True):
            assert (ours == before).all()


def test_a_second_phase_that_falls_apart_costs_nothing(tuning, capsys):
    """The loss is no number from its first epoch on: the warm-up's model is kept, and that is said."""
    _, history, more = tuned(extracted(), tuning / "models", optimizer="sgd", fine_tune={"learning_rate": 1e30})
    assert np.isnan(history["val_loss"][-1])
    assert loop.best(history) < more["warm_up_epochs"]
    assert "the warm-up's model is kept (rate 1e+30)" in capsys.readouterr().out


def test_an_exact_name_comes_before_one_that_begins_so():
    whole = keras_apps.network("EfficientNetB0", (32, 32))
    assert split_point.before(whole, "block2a_dwconv").below == "block2a_dwconv_pad"
    assert split_point.before(whole, "block2a").trained[0] == "block2a_expand_conv"


KINDS = {
    "a block from the cut": ({}, {}, ["block3_pool"]),
    "two layers": ({"unfreeze": 2}, {"layers": ["block5_conv1"]}, ["block5_conv1"]),
    "another top": ({"top": "block4_conv3", "pooling": "max"}, {}, ["block3_pool"]),
    "all": ({"unfreeze": "all"}, {"layers": ["block5_pool"], "pooling": "avg"}, []),
    "new pixels": ({"online": {"preset": "tutorial"}}, {}, ["block3_pool"]),
    "mixed": ({"mixup": 0.2, "cutmix": 1.0}, {"layers": ["block5_pool"], "pooling": "avg"}, []),
    "reduced precision": ({}, {}, ["block3_pool"]),
}


QUICK = ("a block from the cut", "new pixels")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind in QUICK else pytest.mark.full) for kind in KINDS]
)
def test_what_is_saved_says_the_same_from_features_and_from_pixels(tuning, kind):
    """Every kind learns; the model that is read from disk gives one answer on both ways, and its best epoch's."""
    from darkroom.models.classifier import Classifier

    how, section, layers = KINDS[kind]
    report = extracted(**section)
    precision = "mixed_bfloat16" if "precision" in kind else "float32"
    model, history, _ = tuned(report, tuning / "models", fine_tune={"epochs": 3, **how}, epochs=5, precision=precision)
    assert model.settings["layers"] == layers
    again = Classifier.load(tuning / "models")
    val = again.inputs("val")
    assert isinstance(val, Features if layers else Pictures)
    probabilities = again.probabilities(val)
    whole = again.whole()
    for row in (0, 11, 29):
        alone = whole(decode(tuning / val.paths[row])[None]).numpy()[0]
        assert np.abs(alone - probabilities[row]).max() < 1e-3
    accuracy = (probabilities.argmax(axis=1) == val.numbers(again.classes)).mean()
    best = int(np.argmin(history["val_loss"]))
    assert accuracy == pytest.approx(history["val_accuracy"][best], abs=0.04 if "precision" in kind else 1e-6)
    assert accuracy > 0.6  # chance is a third
    assert [history["learning_rate"][epoch] for epoch in (0, -1)] == pytest.approx([1e-3, 1e-5])


def test_an_epoch_may_be_a_part_of_a_pass(tuning):
    """90 pictures in batches of 16 are six steps: two epochs of three are one of six. Without a warm-up, too."""
    report = extracted()
    settled = {"epochs": 1, "keep": "last", "head": {"prepare": []}}
    files = []
    for every, epochs in ((None, 1), (3, 2)):
        how = {"warm_up": False, "epochs": epochs}
        _, history, more = tuned(report, tuning / str(every), fine_tune=how, validate_every=every, **settled)
        assert (len(history["loss"]), more["warm_up_epochs"]) == (epochs, 0)
        files.append((tuning / f"{every}/backbone.weights.h5").read_bytes())
    assert files[0] == files[1]


@pytest.mark.full
def test_one_seed_gives_one_network(tuning):
    report = extracted()
    changes = {
        "fine_tune": {"epochs": 1, "online": {"preset": "tutorial"}, "mixup": 0.2, "cutmix": 0.5, "learning_rate": 1e-5}
    }
    files = []
    for number, seed in enumerate((1, 1, 2)):
        tuned(report, tuning / str(number), seed=seed, **changes)
        files.append((tuning / f"{number}/backbone.weights.h5").read_bytes())
    assert files[0] == files[1] != files[2]


def test_changed_pictures_are_a_function_of_seed_epoch_and_picture(tuning):
    pictures = Pictures(listed("train"), (32, 32))

    def epoch(seed, number, size=8):
        changes = Pixels(online={"preset": "tutorial"})
        batches = ChangedPictures(pictures, CLASSES, descent(batch_size=size), seed, changes)
        found = {}
        for place in range(batches.in_a_pass):
            rows = batches.order(number)[place * size : (place + 1) * size]
            step = batches[number * batches.in_a_pass + place]
            found |= dict(zip(rows.tolist(), zip(*step, strict=True), strict=True))
        return found

    once, again, small, other, later = epoch(1, 0), epoch(1, 0), epoch(1, 0, size=3), epoch(2, 0), epoch(1, 1)
    assert sorted(once) == list(range(90))
    for row, (image, label) in once.items():
        assert (image == again[row][0]).all()
        assert (image == small[row][0]).all()
        assert (image != other[row][0]).any()
        assert (image != later[row][0]).any()
        assert CLASSES[int(label.argmax())] == pictures.labels[row]


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_pictures_have_mixed_labels(tuning, kind):
    """Each picture is what its labels say: so much of one class's picture, so much of another's."""
    pictures = Pictures(listed("train"), (32, 32))
    how = descent(batch_size=30)
    plain = Batches(pictures, CLASSES, how, seed=1)
    mixed = ChangedPictures(pictures, CLASSES, how, 1, Pixels(**{kind: 1.0}))
    soft = 0
    for number in range(plain.in_a_pass):
        images, labels = plain[number]
        changed, weights = mixed[number]
        assert np.allclose(weights.sum(axis=1), 1, atol=1e-5)
        soft += int((weights.max(axis=1) < 0.99).sum())
        assert changed.shape == images.shape
        assert changed.min() >= -1e-3
        assert changed.max() <= 255.001
        for image, weight, original, label in zip(changed, weights, images, labels, strict=True):
            own = weight[label.argmax()]
            if kind == "cutmix" and own < 0.999:  # its label says how much of the picture is still there
                assert (image == original).all(axis=-1).mean() >= own - 0.07  # its sides are rounded to pixels
            elif own < 0.999:  # nearest to a mixture in the label's shares
                assert np.abs(image - own * original).max() <= 255 * (1 - own) + 0.1
    assert soft > 20
    again = ChangedPictures(pictures, CLASSES, how, 1, Pixels(**{kind: 1.0}))
    assert (again[1][0] == mixed[1][0]).all()


@pytest.mark.parametrize(
    ("section", "changes", "sentence"),
    [
        ({}, {"unfreeze": "block5"}, r"trains what comes after block4_pool, .* set extract.layers to \[block4_pool\]"),
        ({"pooling": "avg"}, {}, r"set extract.layers to \[block3_pool\] and extract.pooling to flatten"),
        ({}, {"unfreeze": "block9"}, "no layer's name begins with block9; its layers are block1_conv1, block1_conv2"),
        ({}, {"unfreeze": "block5_pool"}, "no weights are to be trained from block5_pool on"),
        ({}, {"top": "block9"}, "train.fine_tune.top: VGG16 has no layer block9; it has block1_conv1, "),
        ({}, {"top": "block3_pool"}, "nothing is trained between block3_pool and top block3_pool"),
        ({}, {"top": "block2_pool"}, "nothing is trained between block3_pool and top block2_pool"),
    ],
)
def test_what_does_not_fit_is_named(tuning, section, changes, sentence):
    report = extracted(**section)
    with pytest.raises(UserError, match=sentence):
        tuned(report, tuning / "models", fine_tune=changes)


def test_the_stage_runs_whole(tuning, monkeypatch):
    """`main`, with its run in MLflow: what the files say fits together."""
    import mlflow

    (tuning / "reports").mkdir()
    (tuning / "reports/split.csv").write_text("picture,class,split\na,Bag,train\nb,Bag,val\nc,Bag,test\n")
    (tuning / "reports/dataset.json").write_text('{"classes": {"Bag": 3}}')
    extracted()
    content = yaml.safe_load((tuning / "params.yaml").read_text())
    section = content["train"] | {"mode": "fine_tune", "epochs": 3, "batch_size": 16}
    section["fine_tune"] |= {"unfreeze": "block4", "epochs": 2, "learning_rate": 0.0003}
    train.main(Base(seed=1), train.Params(**section))
    report = json.loads((tuning / "reports/train.json").read_text())
    history = read_csv(tuning / "reports/history.csv")
    assert len(history) == report["epochs"] == report["warm_up_epochs"] + 2
    assert [float(row["learning_rate"]) for row in history][-1] == pytest.approx(0.0003)
    assert report["cut"] == "block3_pool"
    assert sorted(path.name for path in (tuning / "models").iterdir()) == [
        "backbone.weights.h5", "classes.json", "head.weights.h5", "model.json"
    ]  # fmt: skip
    (run,) = mlflow.search_runs(experiment_names=["darkroom"], output_format="list")
    assert run.data.metrics["final_val_accuracy"] == report["final_val_accuracy"]
    assert run.data.tags["precision"] == runtime.precision("auto")
    assert "training/model.txt" in [
        file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id, "training")
    ]
    assert "block4_conv1 (Conv2D)" in (tuning / "reports/model.txt").read_text()
    # Weights that differ only above the features: they are another training.
    whole = keras_apps.network("VGG16", (32, 32))
    whole.load_weights("data/features/backbone.weights.h5")
    last = whole.get_layer("block5_conv3")
    last.set_weights([array * 0.5 for array in last.get_weights()])
    whole.save_weights("data/features/backbone.weights.h5")
    train.main(Base(seed=1), train.Params(**section))
    assert json.loads((tuning / "reports/train.json").read_text())["best_val_loss"] != report["best_val_loss"]
    mlflow.set_tracking_uri(None)
