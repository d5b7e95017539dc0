"""Complete networks with ImageNet's classes. Their weights cannot be downloaded on many machines, perhaps not on this
one: tested are the error, and with other weights everything that does not depend on them."""

import sys
import urllib.request

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.applications import imagenet_utils
from keras.src.backend import config
from keras.src.utils import file_utils

from darkroom.commands.predict import command as predict
from darkroom.core.errors import UserError
from darkroom.core.paths import EXPORTS
from darkroom.images.decode import decode
from darkroom.inference import predictor, pretrained

pytestmark = pytest.mark.usefixtures("tensorflow")

CLOSED = "http://127.0.0.1:9"  # the port "discard", on which nothing listens
FILES = ("resnet50_weights_tf_dim_ordering_tf_kernels.h5", "imagenet_class_index.json")


@pytest.fixture
def names(monkeypatch):
    """A class index of made-up names, where Keras caches the real one (it would check a file's hash)."""
    index = {str(number): [f"n{number:08d}", f"thing {number}"] for number in range(1000)}
    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX", index)
    return [f"thing {number}" for number in range(1000)]


@pytest.fixture
def unreachable(tmp_path, monkeypatch):
    """A machine without Keras' files and without a network, whatever this machine has."""
    environment = {"https_proxy": CLOSED, "HTTPS_PROXY": CLOSED, "no_proxy": "", "KERAS_HOME": str(tmp_path)}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(urllib.request, "_opener", None)  # which keeps the proxies of the process's first request
    monkeypatch.setattr(config, "_KERAS_DIR", str(tmp_path))  # Keras reads KERAS_HOME when it is imported
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def zeros(monkeypatch):
    """Networks start with zeros, which costs less than random weights."""
    initial = keras.initializers.GlorotUniform
    monkeypatch.setattr(initial, "__call__", lambda self, shape, dtype=None, **_: tf.zeros(shape, dtype or "float32"))


def sentence(files, reason, folder):
    return (
        f"--pretrained ResNet50 needs {' and '.join(files)} from Keras' host, storage.googleapis.com, which cannot be "
        f"reached ({reason}): run it on a machine that reaches the host, or copy these files from such a machine's "
        f"~/.keras/models to {folder}."
    )


def test_files_that_cannot_be_downloaded_are_named(unreachable, pictures, capsys):
    with pytest.raises(UserError) as error:
        predict.main([str(pictures[0])], EXPORTS, False, "table", 3, "ResNet50")
    assert str(error.value) == sentence(FILES, "no answer", unreachable)
    assert capsys.readouterr().out == ""
    (unreachable / FILES[1]).write_text("{}")
    with pytest.raises(UserError) as error:
        pretrained.fetch("ResNet50")
    assert str(error.value) == sentence(FILES[:1], "no answer", unreachable)


@pytest.mark.usefixtures("zeros")
def test_foreign_files_are_not_used(unreachable, capsys):
    """Keras knows the hashes of its files, and asks its host for others."""
    for name in FILES:
        (unreachable / name).write_text("{}")
    with pytest.raises(UserError, match=r"URL fetch failure on https://storage\.googleapis\.com/.*Connection refused"):
        pretrained.fetch("ResNet50")
    assert "file hash does not match the original value" in capsys.readouterr().out


@pytest.mark.usefixtures("zeros")
@pytest.mark.parametrize("name", pretrained.WEIGHTS)
def test_file_names_are_those_of_keras(monkeypatch, name):
    requested = []

    def get_file(fname, *_, **__):
        requested.append(fname)
        raise RuntimeError("requested")

    monkeypatch.setattr(file_utils, "get_file", get_file)
    with pytest.raises(RuntimeError, match="requested"):
        getattr(keras.applications, name)()
    assert requested == [pretrained.WEIGHTS[name]]


@pytest.mark.parametrize("name", pretrained.WEIGHTS)
def test_pictures_are_prepared_as_keras_does(names, pictures, name):
    """In front of a small network with the input size of the real one."""
    keras.utils.set_random_seed(4)
    side = 299 if name in ("InceptionV3", "Xception") else 224
    layers = [keras.layers.AveragePooling2D(32), keras.layers.Flatten(), keras.layers.Dense(1000, "softmax")]
    network = keras.Sequential([keras.Input((side, side, 3)), *layers])
    exported = pretrained.exported(name, network, pretrained.class_names())
    assert exported.classes == names
    module = sys.modules[getattr(keras.applications, name).__module__]
    for path, result in predictor.classify(exported, pictures[:3]):
        resized = tf.image.resize(decode(path)[None], (side, side), antialias=True).numpy()
        expected = network(module.preprocess_input(resized.copy())).numpy()
        assert np.abs(result - expected[0]).max() < 1e-5
        top = imagenet_utils.decode_predictions(expected, top=5)[0]
        assert [label for label, _ in predictor.top_classes(result, exported.classes, 5)] == [row[1] for row in top]
