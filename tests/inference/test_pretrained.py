"""Complete networks with ImageNet's classes. Their weights are beyond the reach of many machines, this one's too maybe:
what is tested is the sentence that says so, and with random weights everything that does not depend on them."""

import sys
import urllib.request

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.applications import imagenet_utils
from keras.src.backend import config
from keras.src.utils import file_utils

from darkroom.core.errors import UserError
from darkroom.images.decode import decode
from darkroom.inference import predictor, pretrained
from tests.helpers.project import ROOT, run

CLOSED = "http://127.0.0.1:9"  # the port "discard", which nothing listens at

FILES = ("resnet50_weights_tf_dim_ordering_tf_kernels.h5", "imagenet_class_index.json")


@pytest.fixture
def names(monkeypatch):
    """A class index of made-up names, where Keras keeps the real one once it has read it: it checks a file's hash."""
    index = {str(number): [f"n{number:08d}", f"thing {number}"] for number in range(1000)}
    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX", index)
    return [f"thing {number}" for number in range(1000)]


@pytest.fixture
def unreachable(tmp_path, monkeypatch):
    """A machine without Keras' files that reaches nobody: the same on those with a network."""
    environment = {"https_proxy": CLOSED, "HTTPS_PROXY": CLOSED, "no_proxy": "", "KERAS_HOME": str(tmp_path)}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(urllib.request, "_opener", None)  # which keeps the proxies of the process's first request
    monkeypatch.setattr(config, "_KERAS_DIR", str(tmp_path))  # Keras asks for KERAS_HOME when it is imported
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def sentence(files, said, folder):
    return (
        f"--pretrained ResNet50 needs {' and '.join(files)} from Keras' host, storage.googleapis.com, which cannot be "
        f"reached ({said}): run it on a machine that reaches it, or copy these files from such a machine's "
        f"~/.keras/models into {folder}."
    )


def test_what_cannot_be_reached_is_named(unreachable, pictures):
    done = run("python", "-m", "stages.predict", "--pretrained", "ResNet50", str(pictures[0]), cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"predict: {sentence(FILES, 'no answer', unreachable)}\n"


def test_only_what_is_missing_is_named(unreachable):
    (unreachable / FILES[1]).write_text("{}")
    with pytest.raises(UserError) as error:
        pretrained.fetch("ResNet50")
    assert str(error.value) == sentence(FILES[:1], "no answer", unreachable)


def test_files_that_are_not_keras_own_are_not_used(unreachable, capsys):
    """It knows their hashes, and asks its host for better ones."""
    for name in FILES:
        (unreachable / name).write_text("{}")
    with pytest.raises(UserError, match=r"URL fetch failure on https://storage\.googleapis\.com/.*Connection refused"):
        pretrained.fetch("ResNet50")
    assert "file hash does not match the original value" in capsys.readouterr().out


@pytest.mark.parametrize("name", pretrained.WEIGHTS)
def test_file_names_are_those_of_keras(monkeypatch, name):
    asked = []

    def get_file(fname, *_, **__):
        asked.append(fname)
        raise RuntimeError("asked")

    monkeypatch.setattr(file_utils, "get_file", get_file)
    with pytest.raises(RuntimeError, match="asked"):
        getattr(keras.applications, name)()
    assert asked == [pretrained.WEIGHTS[name]]


@pytest.mark.parametrize(("name", "side"), [("ResNet50", 224), ("InceptionV3", 299)])
def test_pictures_are_prepared_as_keras_does(names, pictures, name, side):
    keras.utils.set_random_seed(4)
    network = getattr(keras.applications, name)(weights=None)
    exported = pretrained.exported(name, network, pretrained.class_names())
    assert exported.classes == names
    module = sys.modules[getattr(keras.applications, name).__module__]
    for path, result in predictor.classify(exported, pictures[:3]):
        resized = tf.image.resize(decode(path)[None], (side, side), antialias=True).numpy()
        expected = network(module.preprocess_input(resized.copy())).numpy()
        assert np.abs(result - expected[0]).max() < 1e-5
        keras_says = imagenet_utils.decode_predictions(expected, top=5)[0]
        assert [label for label, _ in predictor.best(result, exported.classes, 5)] == [said[1] for said in keras_says]
