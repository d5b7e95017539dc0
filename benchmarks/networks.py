"""Training from scratch against plain Keras: seconds an epoch of `fashion_cnn`.

    python -m benchmarks.networks [PICTURES] [BATCH]

Plain is what Keras' guides show: Keras' own layers, and tf.data that scales, caches, shuffles and batches. Both train
on the same pictures of data/split/train (by default 12,800 in batches of 64). Nothing is written.
"""

import itertools
import sys
import time
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from darkroom.core import runtime
from darkroom.images.folders import listed
from darkroom.models import networks
from darkroom.models.inputs import Pictures
from darkroom.models.networks import fashion_cnn
from darkroom.train.batches import Batches
from darkroom.train.params import Descent


def main() -> None:
    """Print a row of a Markdown table for each way; the ratio is to plain Keras."""
    count, size = (int(text) for text in (sys.argv[1:] + ["12800", "64"][len(sys.argv) - 1 :])[:2])
    runtime.prepare(42)
    every = listed("train")
    chosen = [every[row] for row in np.unique(np.linspace(0, len(every) - 1, count).astype(int))]
    pictures = Pictures(chosen, (28, 28)).hold()
    classes = sorted(set(pictures.labels))
    descent = Descent(epochs=1, patience=None, batch_size=size, optimizer="adam", learning_rate=1e-4)
    batches = Batches(pictures, classes, descent, seed=42)
    settings = {"name": "fashion_cnn", "image_size": [28, 28], "color": "grey", "activation": None}
    with mock.patch.object(fashion_cnn, "BatchNorm", keras.layers.BatchNormalization):
        network = networks.build(settings, len(classes))
    seconds = {"plain Keras": epoch(network, plain(pictures, classes, size), batches)}
    for precision in ("float32", "mixed_bfloat16"):
        seconds[precision] = epoch(networks.build(settings, len(classes), precision), batches.stream(0), batches)
    print("| way | seconds an epoch | times as fast |\n| --- | --- | --- |")
    for way, value in seconds.items():
        print(f"| {way} | {value:.1f} | {seconds['plain Keras'] / value:.2f} |")


def plain(pictures: Pictures, classes: list[str], size: int) -> Any:
    """The usual pipeline."""
    labels = np.eye(len(classes), dtype=np.float32)[pictures.numbers(classes)]
    rows = tf.data.Dataset.from_tensor_slices((pictures.rows().astype(np.uint8), labels))
    scaled = rows.map(lambda image, label: (tf.cast(image, tf.float32), label)).cache()
    return scaled.shuffle(10_000).batch(size).repeat()


def epoch(model: keras.Model, data: Any, batches: Batches) -> float:
    """The faster of the second and the third epoch; in the first TensorFlow traces."""
    model.compile(
        "adam", keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"], jit_compile=False
    )
    marks: list[float] = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: marks.append(time.perf_counter()))
    model.fit(data, steps_per_epoch=batches.in_a_pass, epochs=3, shuffle=False, verbose=0, callbacks=[note])
    return min(later - earlier for earlier, later in itertools.pairwise(marks))


if __name__ == "__main__":
    main()
