"""TensorFlow's SavedModel, which needs TensorFlow but none of Darkroom's code."""

import hashlib
import json
from pathlib import Path
from typing import Any

from darkroom.core import runtime
from darkroom.core.files import write_json
from darkroom.core.model_spec import JOINT
from darkroom.inference.formats.base import (
    CLASSES,
    HEAD,
    PIXELS,
    PROBABILITIES,
    Conversion,
    Exported,
    Format,
    Halves,
    register,
)
from darkroom.inference.frozen_graph import numbered

GRAPH = "saved_model.pb"
EXTRA = "assets.extra"  # TensorFlow's folder for files of other programs


def load(path: Path) -> Exported:
    """Load a SavedModel."""
    runtime.import_tensorflow()
    import tensorflow as tf

    classes = json.loads((path / EXTRA / CLASSES).read_text(encoding="utf-8"))
    model = tf.saved_model.load(str(path))
    return Exported(classes, lambda pixels: model(tf.constant(pixels)).numpy())


def halves(path: Path) -> Halves:
    """Load the graph in a SavedModel in two halves."""
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tensorflow.python.framework.function_def_to_graph import function_def_to_graph_def

    (meta_graph,) = SavedModel.FromString((path / GRAPH).read_bytes()).meta_graphs
    functions = meta_graph.graph_def.library.function
    whole = next(function for function in functions if any(node.name == JOINT for node in function.node_def))
    graph, _ = function_def_to_graph_def(whole)
    backbone = numbered(tf.compat.v1.graph_util.extract_sub_graph(graph, [JOINT]), (PIXELS, JOINT))
    imported = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    first = imported.prune(f"{PIXELS}:0", f"{JOINT}:0")
    second = imported.prune(f"{JOINT}:0", f"{HEAD}/{PROBABILITIES}:0")
    return Halves(
        hashlib.sha256(backbone.SerializeToString(deterministic=True)).hexdigest(),
        lambda pixels: first(tf.constant(pixels)).numpy(),
        lambda features: second(tf.constant(features)).numpy(),
    )


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
        halves=halves,
        danger=danger,
    )
)
