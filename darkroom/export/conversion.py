"""A model written in other formats: raw uint8 RGB pixels of any size in, probabilities out, class names with it.

All are equal byte for byte when they are written again by another process. SavedModel, ONNX and LiteRT come from one
frozen graph: the model as TensorFlow operations, its weights as constants.
"""

import json
import logging
import math
import re
import shutil
import zipfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from darkroom.core.errors import UserError
from darkroom.core.files import write_json
from darkroom.core.terminal import silent
from darkroom.export import onnx_order
from darkroom.inference.formats import CLASSES, FILES, LABELS, PIXELS, PROBABILITIES

OPSET = 18  # of ONNX, from 2022
LARGEST = 2**31 - 2**20  # bytes: protobuf and flatbuffers, on which graphs, ONNX and LiteRT rest, end at 2 GiB
UNLIMITED = "keras"
TENSOR = tf.TensorSpec((None, None, None, 3), tf.uint8, name=PIXELS)
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the date of everything in a zip file


def refuse_too_large(kinds: Sequence[str], whole: keras.Model, what: str) -> None:
    """Say before the work which formats cannot hold a model.

    Args:
        kinds: wanted formats.
        whole: the model.
        what: it is.

    Raises:
        UserError: its weights are more than a file of a wanted format may have.
    """
    size = sum(math.prod(weight.shape) * tf.as_dtype(weight.dtype).size for weight in whole.weights)
    wrong = [kind for kind in kinds if kind != UNLIMITED] if size > LARGEST else []
    if wrong:
        raise UserError(
            f"export.formats {', '.join(wrong)}: such a file holds at most {LARGEST / 1e9:.2g} GB, but the weights of "
            f"{what} are {size / 1e9:.2g} GB: take them out, {UNLIMITED} can have it."
        )


class Callable(tf.Module):
    """What a SavedModel is loaded as: uint8 pixels (batch, any height, any width, 3) to (batch, classes)."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    @tf.function(input_signature=[TENSOR])
    def __call__(self, pixels: Any) -> Any:
        """Probabilities of raw RGB pixels."""
        return self.function(pixels)[PROBABILITIES]

    @tf.function(input_signature=[TENSOR])
    def named(self, pixels: Any) -> dict[str, Any]:
        """The same with a name: the SavedModel's signature `serving_default`."""
        return self.function(pixels)


class Conversion:
    """One model on its way into several formats, which share what can be shared."""

    def __init__(self, whole: keras.Model, classes: list[str]) -> None:
        self._whole, self._classes = whole, classes
        # Exports promise float32; on GPUs, factors would be rounded to TF32, which has 10 bits.
        tf.config.experimental.enable_tensor_float_32_execution(False)

    def write(self, kind: str, folder: Path) -> Path:
        """Write one format into a folder, under its name in `FILES`.

        Raises:
            UserError: its converter cannot; formats of which that is known are refused before.
        """
        target = folder / FILES[kind]
        loggers = [logging.getLogger(name) for name in ("tensorflow", "absl", "tf2onnx")]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.ERROR)  # they warn of each other's ways
        try:
            with silent():
                getattr(self, f"_{kind}")(target)
        except Exception as error:  # whatever a converter raises on a layer that it does not know
            said = " ".join(str(error).split())[:300]
            raise UserError(f"export.formats {kind}: this model cannot be converted ({said}): take it out.") from None
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
        return target

    @cached_property
    def _frozen(self) -> Any:
        """The graph, with the names of input and output that all formats have."""
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        whole = tf.function(lambda pixels: self._whole(pixels, training=False), input_signature=[TENSOR])
        # Keras has grouped convolutions compiled by XLA, which nothing but TensorFlow can run; eagerly they are plain.
        tf.config.run_functions_eagerly(True)
        try:
            function = convert_variables_to_constants_v2(whole.get_concrete_function())
        finally:
            tf.config.run_functions_eagerly(False)
        graph = function.graph.as_graph_def()
        for node in graph.node:
            node.attr.pop("_gradient_op_type", None)  # of activations with a gradient of their own, which stays behind
            if node.name == function.outputs[0].op.name:  # nothing takes it as an input
                node.name = PROBABILITIES
        return graph

    @cached_property
    def _function(self) -> Any:
        """The frozen graph as a function: pixels to a dictionary with the probabilities."""
        graph = self._frozen
        imported = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
        return imported.prune(f"{PIXELS}:0", {PROBABILITIES: f"{PROBABILITIES}:0"})

    def _keras(self, target: Path) -> None:
        """Keras' own file, without the date and the places in memory that it would hold."""
        plain = target.with_name(f"{target.stem}.dated.keras")
        self._whole.save(plain)
        with zipfile.ZipFile(plain) as read, zipfile.ZipFile(target, "w") as written:
            for name in sorted(read.namelist()):
                with read.open(name) as source, written.open(_entry(name), "w", force_zip64=True) as stream:
                    if name.endswith(".json"):
                        stream.write(_without_chance(source.read().decode()).encode())
                    else:
                        shutil.copyfileobj(source, stream)
            written.writestr(_entry(CLASSES), json.dumps(self._classes, ensure_ascii=False))
        plain.unlink()

    def _saved_model(self, target: Path) -> None:
        """In the one order of bytes that protobuf promises, and without the fingerprint, which is drawn by chance."""
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

        module = Callable(self._function)
        tf.saved_model.save(module, str(target), signatures={"serving_default": module.named})
        model = SavedModel.FromString((target / "saved_model.pb").read_bytes())
        (target / "saved_model.pb").write_bytes(model.SerializeToString(deterministic=True))
        (target / "fingerprint.pb").unlink()
        write_json(target / "assets.extra" / CLASSES, self._classes)

    def _onnx(self, target: Path) -> None:
        """With the class names as metadata, and names for the sizes that are free."""
        import onnx
        import tf2onnx

        model, _ = tf2onnx.convert.from_graph_def(
            without_erfc(self._frozen), input_names=[f"{PIXELS}:0"], output_names=[f"{PROBABILITIES}:0"], opset=OPSET
        )
        model = onnx_order.ordered(model, {f"{name}:0": name for name in (PIXELS, PROBABILITIES)})
        for value, free in ((model.graph.input[0], ("batch", "height", "width")), (model.graph.output[0], ("batch",))):
            for size, name in zip(value.type.tensor_type.shape.dim, free, strict=False):
                size.dim_param = name
        onnx.helper.set_model_props(model, {"classes": json.dumps(self._classes, ensure_ascii=False)})
        onnx.checker.check_model(model)
        onnx.save(model, target)

    def _litert(self, target: Path, optimizations: Sequence[Any] = ()) -> None:
        """With the class names appended as a zip file, which is where LiteRT's metadata have them."""
        from tensorflow.lite.tools import flatbuffer_utils

        if any("\n" in name for name in self._classes):
            raise ValueError("a class name has a line break, and it would hold one name a line")
        module = tf.Module()
        module.function = self._function
        converter = tf.lite.TFLiteConverter.from_concrete_functions([module.function], module)
        converter.optimizations = list(optimizations)
        model = flatbuffer_utils.convert_bytearray_to_object(converter.convert())
        # The signature has the right names, the tensors themselves have those of a function around it.
        graph = model.subgraphs[0]
        graph.tensors[graph.inputs[0]].name = PIXELS.encode()
        graph.tensors[graph.outputs[0]].name = PROBABILITIES.encode()
        target.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
        with zipfile.ZipFile(target, "a") as appended:
            appended.writestr(_entry(LABELS), "".join(f"{name}\n" for name in self._classes))

    def _litert_int8(self, target: Path) -> None:
        """Weights of 8 bits; what layers pass on stays float32, so that no pictures are needed to set its range."""
        self._litert(target, [tf.lite.Optimize.DEFAULT])


def without_erfc(graph: Any) -> Any:
    """A graph with 1 - erf(x) for erfc(x), which is in GELU and which ONNX does not have."""
    result = type(graph)()
    for node in graph.node:
        result.node.add().CopyFrom(node)
        if node.op == "Erfc":
            error, one = result.node[-1], result.node.add()
            error.op, error.name = "Erf", f"{node.name}/erf"
            one.op, one.name = "Const", f"{node.name}/one"
            one.attr["dtype"].type = tf.float32.as_datatype_enum
            one.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(1.0, tf.float32))
            rest = result.node.add(op="Sub", name=node.name, input=[one.name, error.name])
            rest.attr["T"].type = tf.float32.as_datatype_enum
    result.versions.CopyFrom(graph.versions)
    result.library.CopyFrom(graph.library)
    return result


def _without_chance(text: str) -> str:
    """A JSON file of Keras' without the date; layers that are shared are numbered, not called by their address."""
    content = json.loads(text)
    content.pop("date_saved", None)
    numbers: dict[str, int] = {}
    return re.sub(
        r'("shared_object_id": )(\d+)',
        lambda found: f"{found[1]}{numbers.setdefault(found[2], len(numbers))}",
        json.dumps(content),
    )


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, LONG_AGO)
