"""A small model that is right about most of Fashion-MNIST's bags, coats and sandals, trained in seconds."""

from pathlib import Path

import keras
import numpy as np

from darkroom.images.decode import decode
from darkroom.models import networks
from darkroom.models.classifier import Classifier
from tests.helpers.pictures import CLASSES
from tests.helpers.training import model_spec

SETTINGS = {"name": "mnist_cnn", "image_size": [28, 28], "color": "grey", "activation": None}


def trained(folder: Path) -> Classifier:
    """Train a network from scratch on a folder with a subfolder for each class."""
    files = [(path, number) for number, label in enumerate(CLASSES) for path in sorted((folder / label).iterdir())]
    pixels = np.stack([decode(path) for path, _ in files])
    keras.utils.set_random_seed(3)
    network = networks.build(SETTINGS, len(CLASSES))
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(pixels.astype(np.float32), np.array([number for _, number in files]), 32, epochs=5, verbose=0)
    return Classifier(model_spec(SETTINGS, CLASSES, epoch=5), network, None)
