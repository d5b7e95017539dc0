"""Complete networks of keras.applications with ImageNet's 1,000 classes, used like an export.

Weights and class names are downloaded from Keras' host once; Keras keeps them in ~/.keras/models and checks their
hashes.
"""

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from darkroom.core import runtime
from darkroom.core.errors import UserError, is_of_the_machine
from darkroom.core.network import reachable
from darkroom.inference.formats.base import Exported

if TYPE_CHECKING:
    import keras

TIMEOUT = 10.0  # seconds
INDEX = "imagenet_class_index.json"
# Weights files of whole networks, by the network's name.
WEIGHTS = {
    name: f"{file}_weights_tf_dim_ordering_tf_kernels.h5"
    for name, file in {
        "VGG16": "vgg16",
        "VGG19": "vgg19",
        "ResNet50": "resnet50",
        "InceptionV3": "inception_v3",
        "Xception": "xception",
    }.items()
}


def fetch(name: str) -> Exported:
    """Load a network of `WEIGHTS`, and download it if necessary.

    Raises:
        UserError: its weights or the class names are not on this machine and cannot be downloaded.
    """
    runtime.prepare(0)
    import keras
    from keras.src.applications import imagenet_utils
    from keras.src.backend import config

    folder = Path(config.keras_home()) / "models"
    missing = [file for file in (WEIGHTS[name], INDEX) if not (folder / file).exists()]
    needed = " and ".join(missing or [WEIGHTS[name], INDEX])
    # Keras would retry a silent host for a minute, so ask once before.
    reason = "no answer" if missing and not reachable(imagenet_utils.CLASS_INDEX_PATH) else ""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        if not reason:
            return exported(name, getattr(keras.applications, name)(), class_names())
    except Exception as error:  # Keras raises a plain Exception when a download fails
        if is_of_the_machine(error):
            raise
        reason = " ".join(str(error).split())
    finally:
        socket.setdefaulttimeout(timeout)
    raise UserError(
        f"--pretrained {name} needs {needed} from Keras' host, storage.googleapis.com, which cannot be reached "
        f"({reason}): run it on a machine that reaches the host, or copy these files from such a machine's "
        f"~/.keras/models to {folder}."
    )


def exported(name: str, network: "keras.Model", classes: list[str]) -> Exported:
    """A network behind its pre-processing: resizing to its input size, and Keras' own preparation for it."""
    import keras

    from darkroom.backbones import keras_apps

    pixels = keras.Input((None, None, 3), name="pixels")
    resized = keras_apps.Resize(network.input_shape[1:3], name="resize")(pixels)
    whole = keras.Model(pixels, network(keras_apps.Preprocess(name, name="preprocess")(resized)))
    return Exported(classes, lambda batch: keras.ops.convert_to_numpy(whole(batch, training=False)))


def class_names() -> list[str]:
    """ImageNet's class names by number, as Keras decodes them; a few classes share a name."""
    from keras.applications import imagenet_utils

    in_order = np.arange(1000, 0, -1, dtype=np.float32)[None]
    return [name for _, name, _ in imagenet_utils.decode_predictions(in_order, top=1000)[0]]
