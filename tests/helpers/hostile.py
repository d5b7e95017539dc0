"""Models that write a marker file if opening or running them executes anything, and files that read others.

Each function of `EXPORTS` writes one to a folder and returns its path. Pickles and Python code write the marker when
they are loaded; `control` says which ones do so by their ordinary loaders.
"""

import base64
import json
import marshal
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

CLASSES = ["a", "b"]


class Pickled:
    """Writes the marker when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.marker}'",)


def _named(folder: Path) -> Path:
    """Add the class names where Darkroom's SavedModels have them."""
    (folder / "assets.extra").mkdir(exist_ok=True)
    (folder / "assets.extra/classes.json").write_text(json.dumps(CLASSES))
    return folder


def saved_model_that_writes(folder: Path, marker: Path) -> Path:
    """Its function copies a file when it classifies."""
    import tensorflow as tf

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="pixels")])
        def __call__(self, pixels: Any) -> Any:
            with tf.control_dependencies([tf.io.write_file(str(marker), tf.io.read_file("/etc/hostname"))]):
                return tf.zeros((tf.shape(pixels)[0], 2))

    tf.saved_model.save(Module(), str(folder / "saved_model"))
    return _named(folder / "saved_model")


def saved_model_that_writes_when_opened(folder: Path, marker: Path) -> Path:
    """Its initialiser writes, before any picture."""
    import tensorflow as tf
    from tensorflow.python.trackable.resource import CapturableResource

    class Resource(CapturableResource):
        def _create_resource(self) -> Any:
            return tf.raw_ops.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

        def _initialize(self) -> Any:
            return tf.io.write_file(str(marker), "written")

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.resource = Resource()

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="pixels")])
        def __call__(self, pixels: Any) -> Any:
            with tf.control_dependencies([self.resource.resource_handle]):
                return tf.zeros((tf.shape(pixels)[0], 2))

    tf.saved_model.save(Module(), str(folder / "saved_model"))
    marker.unlink(missing_ok=True)  # saving runs it, too
    return _named(folder / "saved_model")


def _keras(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A .keras file with class names whose configuration is changed."""
    import keras

    pixels = keras.Input((None, None, 3), name="pixels")
    pooled = keras.layers.GlobalAveragePooling2D()(pixels)
    keras.Model(pixels, keras.layers.Dense(2, activation="softmax", name="target")(pooled)).save(folder / "plain.keras")
    with zipfile.ZipFile(folder / "plain.keras") as source, zipfile.ZipFile(folder / "model.keras", "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "config.json":
                content = json.loads(data)
                change(content)
                data = json.dumps(content).encode()
            target.writestr(name, data)
        target.writestr("classes.json", json.dumps(CLASSES))
    (folder / "plain.keras").unlink()
    return folder / "model.keras"


def _target(content: dict[str, Any]) -> dict[str, Any]:
    """The layer that is replaced."""
    (layer,) = [layer for layer in content["config"]["layers"] if layer["name"] == "target"]
    return layer


def keras_with_a_lambda(folder: Path, marker: Path) -> Path:
    """Python code in the file."""
    code = compile(f"lambda x: (open({str(marker)!r}, 'w'), x)[1]", "model", "eval").co_consts[0]
    value = {"code": base64.b64encode(marshal.dumps(code)).decode(), "defaults": None, "closure": None}

    def change(content: dict[str, Any]) -> None:
        function = {"class_name": "__lambda__", "config": value}
        config = {"name": "target", "function": function, "arguments": {}}
        _target(content).update(class_name="Lambda", module="keras.layers", config=config, registered_name=None)

    return _keras(folder, change)


def keras_that_names_a_function(folder: Path, marker: Path) -> Path:
    """A function of any module as the activation; and an activation as a Python lambda."""

    def change(content: dict[str, Any]) -> None:
        _target(content)["config"]["activation"] = {
            "class_name": "function",
            "module": "os",
            "config": "system",
            "registered_name": "system",
        }
        content["config"]["name"] = f"touch {marker}"

    return _keras(folder, change)


def keras_that_names_a_class(folder: Path, marker: Path) -> Path:
    """A class of any module as a layer, called with arguments from the file."""

    def change(content: dict[str, Any]) -> None:
        _target(content).update(
            class_name="Popen", module="subprocess", config={"args": ["touch", str(marker)]}, registered_name=None
        )

    return _keras(folder, change)


def keras_that_opens_a_saved_model(folder: Path, marker: Path) -> Path:
    """A layer of Keras itself that opens a SavedModel."""
    inner = folder / "inner"
    inner.mkdir()
    saved = saved_model_that_writes_when_opened(inner, marker)

    def change(content: dict[str, Any]) -> None:
        config = {"name": "target", "filepath": str(saved), "call_endpoint": "serving_default"}
        _target(content).update(class_name="TFSMLayer", module="keras.layers", config=config, registered_name=None)

    return _keras(folder, change)


def keras_with_members_outside(folder: Path, marker: Path) -> Path:
    """Names of members that lead out of the folder into which a careless program unpacks."""
    path = _keras(folder, lambda content: None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(os.path.relpath(marker, folder), "written")
        archive.writestr(str(marker), "written")
    return path


def onnx_with_data_outside(folder: Path, marker: Path) -> Path:
    """Weights that lie in another file, which it should not be able to name."""
    import onnx
    from onnx import TensorProto, helper

    secret = folder.parent / "secret.bin"
    secret.write_bytes(np.arange(6, dtype=np.float32).tobytes())
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 2], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "../secret.bin"), ("offset", "0"), ("length", "24")):
        weights.external_data.add(key=key, value=value)
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["probabilities"]),
    ]
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", "h", "w", 3])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])]
    graph = helper.make_graph(nodes, "hostile", inputs, outputs, [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {"classes": json.dumps(CLASSES)})
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    assert onnx.load_model_from_string((folder / "model.onnx").read_bytes())
    return folder / "model.onnx"


def onnx_of_another_domain(folder: Path, marker: Path) -> Path:
    """An operation that only a library of somebody's would provide."""
    from onnx import TensorProto, helper

    node = helper.make_node("PyOp", ["pixels"], ["probabilities"], domain="ai.onnx.contrib", code=f"touch {marker}")
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", "h", "w", 3])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])]
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.contrib", 1)]
    model = helper.make_model(helper.make_graph([node], "g", inputs, outputs), opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, {"classes": json.dumps(CLASSES)})
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def litert_that_writes(folder: Path, marker: Path) -> Path:
    """TensorFlow's operations within LiteRT, which need its Flex delegate."""
    import tensorflow as tf

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="pixels")])
        def __call__(self, pixels: Any) -> Any:
            with tf.control_dependencies([tf.io.write_file(str(marker), "written")]):
                return {"probabilities": tf.zeros((tf.shape(pixels)[0], 2))}

    module = Module()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.__call__.get_concrete_function()], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    converter.allow_custom_ops = True
    (folder / "model.tflite").write_bytes(converter.convert())
    with zipfile.ZipFile(folder / "model.tflite", "a") as archive:
        archive.writestr("labels.txt", "a\nb\n")
        archive.writestr(os.path.relpath(marker, folder), "written")
    return folder / "model.tflite"


def pickle_as(name: str) -> Callable[[Path, Path], Path]:
    """A pickle with the file name of an export."""

    def write(folder: Path, marker: Path) -> Path:
        (folder / name).write_bytes(pickle.dumps(Pickled(marker)))
        return folder / name

    write.__name__ = f"pickle_as_{Path(name).suffix[1:]}"
    return write


EXPORTS = [
    saved_model_that_writes,
    saved_model_that_writes_when_opened,
    keras_with_a_lambda,
    keras_that_names_a_function,
    keras_that_names_a_class,
    keras_that_opens_a_saved_model,
    keras_with_members_outside,
    onnx_with_data_outside,
    onnx_of_another_domain,
    litert_that_writes,
    pickle_as("model.onnx"),
    pickle_as("model.tflite"),
    pickle_as("model.keras"),
]


def spoil_registered(folder: Path, marker: Path) -> None:
    """Turn a model that Darkroom logged in MLflow into one that runs code wherever MLflow opens it."""
    code = f"open({str(marker)!r}, 'w')\n"
    for path in folder.rglob("*.py"):
        path.write_text(code)
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code/evil.py").write_text(f"{code}def _load_pyfunc(path):\n    raise SystemExit\n")
    (folder / "python_model.pkl").write_bytes(pickle.dumps(Pickled(marker)))
    (folder / "requirements.txt").write_text("evil @ file:///nowhere\n")
    model = yaml.safe_load((folder / "MLmodel").read_text())
    model["flavors"]["python_function"] |= {"loader_module": "evil", "code": "code", "python_model": "python_model.pkl"}
    (folder / "MLmodel").write_text(yaml.safe_dump(model))


def weights_with_code(path: Path, marker: Path) -> None:
    """A whole model in Keras' older format, with Python code in a layer."""
    import h5py

    code = compile(f"lambda x: (open({str(marker)!r}, 'w'), x)[1]", "model", "eval").co_consts[0]
    function = [base64.b64encode(marshal.dumps(code)).decode(), None, None]
    layer = {"class_name": "Lambda", "config": {"name": "f", "function": function, "function_type": "lambda"}}
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [layer]}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.15.0"
        file.create_group("model_weights").attrs["layer_names"] = [b"f"]
