"""TensorFlow's SavedModel, which needs TensorFlow but none of Darkroom's code."""

import json
from pathlib import Path
from typing import Any

from darkroom.core import runtime
from darkroom.core.files import write_json
from darkroom.inference.formats.base import (
    CLASSES,
    PIXELS,
    PROBABILITIES,
    Conversion,
    Exported,
    Format,
    register,
)

GRAPH = "saved_model.pb"
EXTRA = "assets.extra"  # TensorFlow's folder for files of other programs


def load(path: Path) -> Exported:
    """Load a SavedModel."""
    runtime.import_tensorflow()
    import tensorflow as tf

    classes = json.loads((path / EXTRA / CLASSES).read_text(encoding="utf-8"))
    model = tf.saved_model.load(str(path))
    return Exported(classes, lambda pixels: model(tf.constant(pixels)).numpy())


def danger(_: Path) -> str:
    """What the operations of TensorFlow's graphs can do."""
    return "a SavedModel can read, write and replace your files as soon as it is opened"


def write(conversion: Conversion, target: Path) -> None:
    """Write a SavedModel with protobuf's deterministic byte order, and without its random fingerprint."""
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    pixels_spec = tf.TensorSpec((None, None, None, 3), tf.uint8, name=PIXELS)

    class Callable(tf.Module):
        """What the SavedModel is loaded as: uint8 pixels (batch, height, width, 3) to (batch, classes)."""

        def __init__(self, function: Any) -> None:
            super().__init__()
            self.function = function

        @tf.function(input_signature=[pixels_spec])
        def __call__(self, pixels: Any) -> Any:
            """Probabilities of raw RGB pixels."""
            return self.function(pixels)[PROBABILITIES]

        @tf.function(input_signature=[pixels_spec])
        def named(self, pixels: Any) -> dict[str, Any]:
            """The signature `serving_default`: the same, with a named output."""
            return self.function(pixels)

    module = Callable(conversion.function)
    tf.saved_model.save(module, str(target), signatures={"serving_default": module.named})
    model = SavedModel.FromString((target / GRAPH).read_bytes())
    (target / GRAPH).write_bytes(model.SerializeToString(deterministic=True))
    (target / "fingerprint.pb").unlink()
    write_json(target / EXTRA / CLASSES, conversion.classes)


register(
    Format(
        "saved_model",
        "saved_model",
        load,
        write,
        packages=("tensorflow",),
        order=2,
        preference=3,
        marker=GRAPH,
        danger=danger,
    )
)
