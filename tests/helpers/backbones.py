"""Feature extractors for tests. Call them with TensorFlow set up."""

import functools
from typing import Any

import numpy as np

from darkroom.backbones import keras_apps, weights


@functools.cache
def vgg16_weights() -> tuple[np.ndarray, ...]:
    """VGG16's ImageNet weights, loaded once in a process; they suit every picture size."""
    backbone = keras_apps.network("VGG16", (32, 32))
    weights.load(backbone, "VGG16", "imagenet", download)
    return tuple(backbone.get_weights())


def vgg16(size: tuple[int, int], layers: list[str], pooling: str, precision: str = "float32") -> Any:
    """VGG16 with ImageNet weights, from raw pixels up to some layers."""
    backbone = keras_apps.network("VGG16", size, precision)
    backbone.set_weights(vgg16_weights())
    return keras_apps.feature_extractor(backbone, "VGG16", size, layers, pooling)


def download(address: str) -> Any:
    """For `weights.load` where no model in MLflow is asked for."""
    raise AssertionError(f"{address} was downloaded")
