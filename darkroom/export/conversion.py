"""What the writers of formats share: the frozen graph of a model, and their errors and noise.

Every format has the same bytes when another process writes it again. SavedModel, ONNX and LiteRT are made from two
frozen graphs, the backbone's and the head's: TensorFlow operations, with the weights as constants.
"""

import gc
import logging
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from darkroom.core.errors import UserError, is_of_the_machine
from darkroom.core.model_spec import JOINT
from darkroom.core.paths import EXPORTS
from darkroom.core.resources import require_space
from darkroom.core.terminal import progress, silent
from darkroom.export import cache
from darkroom.inference.formats.base import EXACT, FORMATS, HEAD, PIXELS, PROBABILITIES, Format
from darkroom.inference.frozen_graph import numbered

LARGEST = 2**31 - 2**20  # bytes: ONNX and LiteRT rest on protobuf and flatbuffers, which end at 2 GiB


def require_room(names: Sequence[str], whole: keras.Model, description: str) -> None:
    """Check that formats can hold a model, and the disk can hold them, before the work of writing them.

    Args:
        names: names of the formats.
        whole: the model.
        description: what the error calls the model.

    Raises:
        UserError: the weights are larger than a file in one of the formats can be, or than the space that is free.
    """
    size = sum(math.prod(weight.shape) * tf.as_dtype(weight.dtype).size for weight in whole.weights)
    too_small = [name for name in names if not FORMATS[name].unlimited] if size > LARGEST else []
    if too_small:
        unlimited = " or ".join(name for name, registered in FORMATS.items() if registered.unlimited)
        raise UserError(
            f"export.formats {', '.join(too_small)}: such a file holds at most {LARGEST / 1e9:.2g} GB, but the weights "
            f"of {description} are {size / 1e9:.2g} GB: use {unlimited} instead."
        )
    copies = sum(FORMATS[name].gate == EXACT for name in names)  # others are smaller
    require_space(EXPORTS, copies * size, f"export.formats {', '.join(names)}", "free some, or use a larger disk")


def write(formats: Sequence[str], whole: keras.Model, classes: list[str], folder: Path) -> dict[str, Path]:
    """Write a model in several formats into a folder, and return their paths.

    Raises:
        UserError: a converter fails, perhaps on a layer that it does not support.
    """
    writer = Conversion(whole, classes)
    chosen = [name for name in FORMATS if name in formats]  # one order, since it can change the bytes
    files = {name: writer.write(FORMATS[name], folder) for name in progress(chosen, len(chosen), "writing", "formats")}
    del writer
    gc.collect()
    return files


class Conversion:
    """One model on its way into several formats."""

    def __init__(self, whole: keras.Model, classes: list[str]) -> None:
        self.whole, self.classes = whole, classes

    def write(self, registered: Format, folder: Path) -> Path:
        """Write one format into a folder and return its path.

        Raises:
            UserError: the converter fails, perhaps on a layer that it does not support.
        """
        target = folder / registered.file
        loggers = [logging.getLogger(name) for name in ("tensorflow", "absl", "tf2onnx")]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.ERROR)  # they warn about each other's internals
        try:
            with silent():
                registered.write(self, target)
        except Exception as error:  # converters raise errors of any kind
            if is_of_the_machine(error):
                raise
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"export.formats: this model cannot be converted to {registered.name} ({reason}): remove the format."
            ) from None
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            gc.collect()  # graphs refer to themselves in circles, and hold copies of all weights
        return target

    @cached_property
    def halves(self) -> tuple[Any, Any]:
        """The frozen graphs from pixels to features, and from features to probabilities."""
        joint = self.whole.get_layer(JOINT).output
        pixels = tf.TensorSpec((None, None, None, 3), tf.uint8, name=PIXELS)
        features = tf.TensorSpec(joint.shape, joint.dtype, name=JOINT)
        return (
            frozen(keras.Model(self.whole.input, joint), pixels, JOINT),
            frozen(keras.Model(joint, self.whole.output), features, PROBABILITIES),
        )

    @cached_property
    def function(self) -> Any:
        """Both graphs as one function: pixels to a dictionary with the probabilities."""
        backbone, head = self.halves

        def joined() -> None:
            (features,) = tf.import_graph_def(backbone, name="", return_elements=[f"{JOINT}:0"])
            tf.import_graph_def(head, {f"{JOINT}:0": features}, name=HEAD)

        imported = tf.compat.v1.wrap_function(joined, [])
        return imported.prune(f"{PIXELS}:0", {PROBABILITIES: f"{HEAD}/{PROBABILITIES}:0"})

    def recall(self, kind: str, graph: Any, convert: Callable[[Any], bytes]) -> bytes:
        """What `convert` makes of a graph, from the cache if that graph was converted before."""
        graph = numbered(graph, (PIXELS, JOINT, PROBABILITIES))
        key = [kind, graph.SerializeToString(deterministic=True)]
        return cache.recall(key, lambda: np.frombuffer(convert(graph), np.uint8)).tobytes()


def frozen(model: keras.Model, argument: tf.TensorSpec, output: str) -> Any:
    """A model as a GraphDef with its weights as constants, whose input and output have these names."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # Keras compiles grouped convolutions with XLA, which only TensorFlow can run; eager ones are plain operations.
    tf.config.run_functions_eagerly(True)
    try:
        traced = tf.function(lambda values: model(values, training=False), input_signature=[argument])
        function = convert_variables_to_constants_v2(traced.get_concrete_function())
    finally:
        tf.config.run_functions_eagerly(False)
    graph = function.graph.as_graph_def()
    for node in graph.node:
        node.attr.pop("_gradient_op_type", None)  # refers to custom gradients, which are not exported
        if node.name == function.outputs[0].op.name:  # no other node takes it as an input
            node.name = output
    return graph
