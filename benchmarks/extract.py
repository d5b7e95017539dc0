"""Features from picture files to disk, compared with what the engine alone does on ready tensors, and with other ways.

    python -m benchmarks.extract FOLDER [--size 224] [--count 192] [--rounds 3] [--json FILE]

FOLDER has a folder of pictures for each class. The table has pictures per second, and their ratio to the engine in
float32. The network is VGG16 up to `block5_pool`, averaged, with random weights. OpenVINO and PyTorch are measured if
they are installed (`pip install -r benchmarks/requirements.txt`).
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras.src.legacy.preprocessing.image import ImageDataGenerator

from benchmarks import engines, rounds
from benchmarks.rounds import Way
from darkroom.backbones import keras_apps
from darkroom.core import precision, runtime
from darkroom.core.model_spec import JOINT
from darkroom.export.conversion import Conversion
from darkroom.extract.forward import BATCH, features
from darkroom.images.folders import labelled
from darkroom.inference.formats import FORMATS

NAME, LAYER = "VGG16", "block5_pool"
POLICIES = (precision.EXACT, "mixed_bfloat16")


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
    features = keras.layers.Identity(name=JOINT)(models[precision.EXACT](pixels)[LAYER])
    whole = keras.Model(pixels, keras.layers.Rescaling(1.0)(features))  # exports have a backbone and a head
    file = Conversion(whole, ["features"]).write(FORMATS["onnx"], scratch)
    yield "ONNX Runtime alone, float32", engines.onnx_runtime(file, ready, batches)
    if rounds.installed("openvino", "OpenVINO"):
        for kind in ("f32", "bf16"):
            yield f"OpenVINO alone, {kind}", engines.openvino(file, kind, ready, batches)
    if rounds.installed("torch", "PyTorch"):
        for kind in ("float32", "bfloat16"):
            yield f"PyTorch alone, {kind}", engines.pytorch(kind, ready, batches)


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


def main() -> None:
    """Print a row of a Markdown table for each way."""
    parser = rounds.parser(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--count", type=int, default=192)
    arguments = parser.parse_args()
    runtime.prepare(42)
    paths = [picture.path for picture in labelled(arguments.folder)]
    paths = paths[: arguments.count // BATCH * BATCH]
    with tempfile.TemporaryDirectory() as scratch:
        methods = dict(ways(arguments.folder, paths, arguments.size, Path(scratch)))
        figures = rounds.rates(rounds.measure(methods, arguments.rounds), len(paths))
    print(f"{len(paths)} pictures at {arguments.size}x{arguments.size}, median of {arguments.rounds} rounds\n")
    rounds.table("way", "pictures/s", figures)
    rounds.save(arguments.json, figures)


if __name__ == "__main__":
    main()
