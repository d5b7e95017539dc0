"""Exported models: which formats there are, and how each is loaded and asked for probabilities.

Every one takes raw RGB pixels of any size, holds its class names, and gives probabilities. ONNX and LiteRT need no
TensorFlow; how formats are written is in conversion.py.
"""

import json
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darkroom.core.errors import UserError
from darkroom.core.parallel import cores
from darkroom.core.terminal import silent

FILES = {
    "keras": "model.keras",
    "saved_model": "saved_model",
    "onnx": "model.onnx",
    "litert": "model.tflite",
    "litert_int8": "model_int8.tflite",
}
QUICKEST = ("onnx", "litert", "saved_model", "keras", "litert_int8")  # to load; the last is not quite the model
PIXELS, PROBABILITIES = "pixels", "probabilities"  # what every format calls its input and its output
CLASSES = "classes.json"  # in .keras and, below assets.extra, in SavedModel; ONNX has it as metadata `classes`
LABELS = "labels.txt"  # in LiteRT, one name a line
_SUFFIXES = {".keras": "keras", ".onnx": "onnx", ".tflite": "litert"}

Probabilities = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Exported:
    """A loaded model.

    Attributes:
        classes: names by number.
        probabilities: uint8 RGB pixels (n, height, width, 3), any size, to float32 (n, classes). Threads may call it.
    """

    classes: list[str]
    probabilities: Probabilities


def locate(folder: Path) -> Path:
    """The export to use of those in a folder: the one that is loaded most quickly.

    Raises:
        UserError: there is none.
    """
    for kind in QUICKEST:
        if (folder / FILES[kind]).exists():
            return folder / FILES[kind]
    names = ", ".join(FILES[kind] for kind in QUICKEST)
    raise UserError(f"{folder} holds no exported model ({names}): run `dvc repro`, which makes one.")


def load(path: Path) -> Exported:
    """Load an exported model; its name, or of a folder its content, says which format it has.

    Raises:
        UserError: it is not there, damaged, or not an export of Darkroom.
    """
    if not path.exists():
        raise UserError(f"there is no model at {path}: run `dvc repro`, which makes exports.")
    kind = "saved_model" if (path / "saved_model.pb").is_file() else _SUFFIXES.get(path.suffix)
    if kind is None:
        known = ", ".join(FILES.values())
        raise UserError(f"{path} is not a model that Darkroom exported: it should be one of {known}.")
    try:
        exported = _LOADERS[kind](path)
        width = exported.probabilities(np.zeros((1, 8, 8, 3), np.uint8)).shape[1]
        if width != len(exported.classes):
            raise ValueError(f"{width} probabilities, but {len(exported.classes)} class names")
    except Exception as error:  # whatever four libraries raise on a file that is not what it is called
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path} is damaged or not a model that Darkroom exported ({said}).") from None
    return exported


def _keras(path: Path) -> Exported:
    _import_tensorflow()
    import keras

    # Keras finds a model's own layers among those that are registered, which importing them does.
    from darkroom.backbones import keras_apps  # noqa: F401
    from darkroom.models import heads, networks  # noqa: F401

    with zipfile.ZipFile(path) as archive:
        classes = json.loads(archive.read(CLASSES))
    model = keras.models.load_model(path, compile=False)
    return Exported(classes, lambda pixels: keras.ops.convert_to_numpy(model(pixels, training=False)))


def _saved_model(path: Path) -> Exported:
    _import_tensorflow()
    import tensorflow as tf

    classes = json.loads((path / "assets.extra" / CLASSES).read_text(encoding="utf-8"))
    model = tf.saved_model.load(str(path))
    return Exported(classes, lambda pixels: model(tf.constant(pixels)).numpy())


def _import_tensorflow() -> None:
    """And have it compute in float32, as the export was checked; on GPUs it would round factors to TF32."""
    from darkroom.core import runtime

    runtime.import_tensorflow()
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)


def _onnx(path: Path) -> Exported:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.use_deterministic_compute = True
    options.enable_mem_pattern = False  # it would keep a plan for every size of pictures that it meets
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    return Exported(classes, lambda pixels: session.run([PROBABILITIES], {PIXELS: pixels})[0])


def _litert(path: Path) -> Exported:
    with zipfile.ZipFile(path) as archive:
        classes = archive.read(LABELS).decode().split("\n")[:-1]
    with silent():
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(path), num_threads=cores())
        runner = interpreter.get_signature_runner()
        runner(**{PIXELS: np.zeros((1, 8, 8, 3), np.uint8)})  # the notes come with the first call
    lock = threading.Lock()  # an interpreter has one set of tensors

    def probabilities(pixels: np.ndarray) -> np.ndarray:
        with lock:
            return np.array(runner(**{PIXELS: pixels})[PROBABILITIES])

    return Exported(classes, probabilities)


_LOADERS = {"keras": _keras, "saved_model": _saved_model, "onnx": _onnx, "litert": _litert}
