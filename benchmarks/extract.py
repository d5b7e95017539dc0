"""Features from picture files to disk, compared with what the engine alone does on ready tensors, and with other ways.

    python -m benchmarks.extract FOLDER [--size 224] [--count 192] [--rounds 3] [--json FILE]

FOLDER has a folder of pictures for each class. Each round runs all ways in turn on the same pictures; the table has
the median of the rounds in pictures per second, and its ratio to the engine in float32. The network is VGG16 up to
`block5_pool`, averaged, with random weights. OpenVINO is measured if it is installed
(`pip install -r benchmarks/requirements.txt`).
"""

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.legacy.preprocessing.image import ImageDataGenerator

from darkroom.backbones import keras_apps
from darkroom.core import precision, runtime
from darkroom.core.parallel import cores
from darkroom.export.conversion import Conversion
from darkroom.extract.forward import BATCH, features
from darkroom.images.folders import labelled
from darkroom.inference.formats import FORMATS

NAME, LAYER = "VGG16", "block5_pool"
POLICIES = (precision.EXACT, "mixed_bfloat16")
Way = Callable[[], Any]


def ways(folder: Path, paths: list[Path], side: int, scratch: Path) -> Iterator[tuple[str, Way]]:
    """The name of each way, and a function that runs all pictures through the network."""
    size = (side, side)
    ready = np.random.default_rng(0).integers(0, 256, (BATCH, *size, 3), np.uint8)
    batches = len(paths) // BATCH
    models = {}
    for policy in POLICIES:
        backbone = keras_apps.network(NAME, size, policy)
        models[policy] = keras_apps.feature_extractor(backbone, NAME, size, [LAYER], "avg")
        yield f"the engine alone, {policy}", engine(models[policy], ready, batches)
    for policy, model in models.items():
        yield f"Darkroom, {policy}", darkroom(model, paths, size, policy, scratch)
    yield "ImageDataGenerator and predict, as in tutorials", tutorial(folder, len(paths), size)
    pixels = keras.Input((None, None, 3), name="pixels")
    whole = keras.Model(pixels, models[precision.EXACT](pixels)[LAYER])
    file = Conversion(whole, ["features"]).write(FORMATS["onnx"], scratch)
    yield "ONNX Runtime alone, float32", onnx_runtime(file, ready, batches)
    if importlib.util.find_spec("openvino"):
        for kind in ("f32", "bf16"):
            yield f"OpenVINO alone, {kind}", openvino(file, kind, ready, batches)


def engine(model: keras.Model, ready: np.ndarray, batches: int) -> Way:
    """TensorFlow on ready tensors."""
    call, pixels = tf.function(lambda images: model(images, training=False)), tf.constant(ready)
    return lambda: [call(pixels)[LAYER].numpy() for _ in range(batches)]


def darkroom(model: keras.Model, paths: list[Path], size: tuple[int, int], policy: str, scratch: Path) -> Way:
    """What the stage does, from files to an array on disk."""

    def run() -> None:
        parts = [batch[LAYER] for batch in features(model, paths, size, policy)]
        np.save(scratch / "features.npy", np.concatenate(parts))

    return run


def tutorial(folder: Path, count: int, size: tuple[int, int]) -> Way:
    """Keras' generator and `predict`."""
    backbone = keras.applications.VGG16(include_top=False, weights=None, input_shape=(*size, 3), pooling="avg")
    generator = ImageDataGenerator(preprocessing_function=keras.applications.vgg16.preprocess_input)

    def run() -> None:
        flow = generator.flow_from_directory(str(folder), size, batch_size=BATCH, class_mode=None, shuffle=False)
        backbone.predict(flow, steps=count // BATCH, verbose=0)

    return run


def onnx_runtime(file: Path, ready: np.ndarray, batches: int) -> Way:
    """ONNX Runtime on ready tensors."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda: [session.run(None, {"pixels": ready}) for _ in range(batches)]


def openvino(file: Path, kind: str, ready: np.ndarray, batches: int) -> Way:
    """OpenVINO on ready tensors."""
    from openvino import Core

    core = Core()
    settings = {"INFERENCE_PRECISION_HINT": kind, "PERFORMANCE_HINT": "THROUGHPUT"}
    compiled = core.compile_model(core.read_model(file), "CPU", settings)
    return lambda: [compiled([ready]) for _ in range(batches)]


def main() -> None:
    """Print a row of a Markdown table for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--count", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    runtime.prepare(42)
    paths = [picture.path for picture in labelled(arguments.folder)]
    paths = paths[: arguments.count // BATCH * BATCH]
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        methods = dict(ways(arguments.folder, paths, arguments.size, Path(scratch)))
        for way in methods.values():
            way()  # TensorFlow traces
        for _ in range(arguments.rounds):
            for name, way in methods.items():
                started = time.perf_counter()
                way()
                rates.setdefault(name, []).append(len(paths) / (time.perf_counter() - started))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    first = next(iter(medians.values()))
    print(f"{len(paths)} pictures at {arguments.size}x{arguments.size}, median of {arguments.rounds} rounds\n")
    print("| way | pictures/s | ratio |\n| --- | --- | --- |")
    for name, value in medians.items():
        print(f"| {name} | {value:.1f} | {value / first:.2f} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rates))


if __name__ == "__main__":
    main()
