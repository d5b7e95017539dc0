"""Complete networks of keras.applications with ImageNet's 1,000 classes, which predict as an export does.

Weights and class names come from Keras' host, once; Keras keeps them in ~/.keras/models and knows their hashes.
"""

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from darkroom.core import runtime
from darkroom.core.errors import UserError
from darkroom.core.network import reachable
from darkroom.inference.formats import Exported

if TYPE_CHECKING:
    import keras

SECONDS_TO_ANSWER = 10.0
INDEX = "imagenet_class_index.json"
# Names of the networks, and of the files with the weights of all their layers.
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
    """The network called `name` in `WEIGHTS`.

    Raises:
        UserError: its weights or the class names are not here and cannot be reached.
    """
    runtime.prepare(0)
    import keras
    from keras.src.applications import imagenet_utils
    from keras.src.backend import config

    folder = Path(config.keras_home()) / "models"
    missing = [file for file in (WEIGHTS[name], INDEX) if not (folder / file).exists()]
    needed = " and ".join(missing or [WEIGHTS[name], INDEX])
    # One question first: to a host that is silent Keras would talk for a minute.
    said: Any = "no answer" if missing and not reachable(imagenet_utils.CLASS_INDEX_PATH) else None
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_TO_ANSWER)
    try:
        if not said:
            return exported(name, getattr(keras.applications, name)(), class_names())
    except Exception as error:  # Keras raises a plain Exception when a download fails
        said = error
    finally:
        socket.setdefaulttimeout(before)
    raise UserError(
        f"--pretrained {name} needs {needed} from Keras' host, storage.googleapis.com, which cannot be "
        f"reached ({' '.join(str(said).split())}): run it on a machine that reaches it, or copy these files from such "
        f"a machine's ~/.keras/models into {folder}."
    )


def exported(name: str, network: "keras.Model", classes: list[str]) -> Exported:
    """The network called `name`, its pre-processing before it: resizing to its size, and Keras' own for it."""
    import keras

    from darkroom.backbones import keras_apps

    pixels = keras.Input((None, None, 3), name="pixels")
    resized = keras_apps.Resize(network.input_shape[1:3], name="resize")(pixels)
    whole = keras.Model(pixels, network(keras_apps.Preprocess(name, name="preprocess")(resized)))
    return Exported(classes, lambda batch: keras.ops.convert_to_numpy(whole(batch, training=False)))


def class_names() -> list[str]:
    """ImageNet's names by number, as Keras decodes them; a few classes have the same name."""
    from keras.applications import imagenet_utils

    in_order = np.arange(1000, 0, -1, dtype=np.float32)[None]
    return [name for _, name, _ in imagenet_utils.decode_predictions(in_order, top=1000)[0]]
