"""LiteRT (TensorFlow Lite), for phones and small devices, in float32 or with 8-bit weights."""

import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.errors import UserError
from darkroom.core.parallel import cores
from darkroom.core.terminal import silent
from darkroom.inference.formats.base import (
    PIXELS,
    PROBABILITIES,
    Conversion,
    Exported,
    Format,
    Gate,
    register,
    zip_entry,
)

LABELS = "labels.txt"  # one class name a line


def load(path: Path) -> Exported:
    """Load a .tflite file; this needs no TensorFlow."""
    with zipfile.ZipFile(path) as archive:
        classes = archive.read(LABELS).decode().split("\n")[:-1]
    with silent():
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(path), num_threads=cores())
        runner = interpreter.get_signature_runner()
        runner(**{PIXELS: np.zeros((1, 8, 8, 3), np.uint8)})  # the first call prints notes
    lock = threading.Lock()  # an interpreter has only one set of tensors

    def probabilities(pixels: np.ndarray) -> np.ndarray:
        with lock:
            return np.array(runner(**{PIXELS: pixels})[PROBABILITIES])

    return Exported(classes, probabilities)


def write(conversion: Conversion, target: Path, optimizations: Sequence[Any] = ()) -> None:
    """Write a .tflite file with the class names appended as a zip file, where LiteRT's metadata belong."""
    import tensorflow as tf
    from tensorflow.lite.tools import flatbuffer_utils

    if any("\n" in name for name in conversion.classes):
        raise UserError("a class name has a line break, and labels.txt one name a line: rename the class.")
    module = tf.Module()
    module.function = conversion.function
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.function], module)
    converter.optimizations = list(optimizations)
    model = flatbuffer_utils.convert_bytearray_to_object(converter.convert())
    # The signature has the right names; the tensors are named after a wrapping function.
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].name = PIXELS.encode()
    graph.tensors[graph.outputs[0]].name = PROBABILITIES.encode()
    target.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(zip_entry(LABELS), "".join(f"{name}\n" for name in conversion.classes))


def write_int8(conversion: Conversion, target: Path) -> None:
    """Write 8-bit weights; activations stay float32, so no pictures are needed to calibrate their range."""
    import tensorflow as tf

    write(conversion, target, [tf.lite.Optimize.DEFAULT])


PACKAGES = ("ai-edge-litert",)
register(
    Format("litert", "model.tflite", load, write, PACKAGES, order=4, preference=2),
    Format(
        "litert_int8",
        "model_int8.tflite",
        load,
        write_int8,
        PACKAGES,
        order=5,
        preference=5,  # the only format that is not quite the model
        gate=Gate(near=0.0, same_label=0.9),  # rounding weights costs accuracy; the report says how much
    ),
)
