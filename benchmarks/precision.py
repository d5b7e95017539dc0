"""What `precision: auto` should be here: pictures per second of a network in float32 and in mixed_bfloat16.

    python -m benchmarks.precision [--backbone VGG16] [--rounds 3]

Batches of random pixels go through the frozen network, and through training steps of `mini_vggnet`, in turn in each
precision; the table has the medians. The ratio is to float32: `auto` is right if it takes bfloat16 exactly where the
ratio is above 1. Nothing is written.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from darkroom.backbones import keras_apps
from darkroom.core import precision, runtime
from darkroom.extract.forward import BATCH
from darkroom.models import networks

POLICIES = (precision.EXACT, "mixed_bfloat16")
STEPS = 3


def forward(name: str, side: int, policy: str) -> Callable[[], Any]:
    """A pass of a batch through a frozen network."""
    model = keras_apps.network(name, (side, side), policy)
    call = tf.function(lambda pixels: model(pixels, training=False))
    pixels = tf.constant(np.random.default_rng(0).uniform(0, 255, (BATCH, side, side, 3)), tf.float32)
    return lambda: call(pixels).numpy()


def training(policy: str) -> Callable[[], Any]:
    """A training step of a batch."""
    settings = {"name": "mini_vggnet", "image_size": [32, 32], "color": "rgb", "activation": None}
    model = networks.build(settings, 10, policy)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    random = np.random.default_rng(0)
    pixels, labels = random.uniform(0, 255, (BATCH, 32, 32, 3)).astype(np.float32), random.integers(0, 10, BATCH)
    return lambda: model.train_on_batch(pixels, labels)


def rate(step: Callable[[], Any]) -> float:
    """Pictures per second."""
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    return STEPS * BATCH / (time.perf_counter() - started)


def main() -> None:
    """Print a row of a Markdown table for each kind of work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="VGG16")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    runtime.prepare(42)
    choice = precision.choose("auto")
    print(f"auto takes {choice.policy} here: {choice.reason}\n")
    print("| work | float32, pictures/s | mixed_bfloat16, pictures/s | ratio |\n| --- | --- | --- | --- |")
    kinds: dict[str, Callable[[str], Callable[[], Any]]] = {
        f"{arguments.backbone}, {side}x{side}": lambda policy, side=side: forward(arguments.backbone, side, policy)  # type: ignore[misc]
        for side in (64, 224)
    }
    for name, build in (kinds | {"training mini_vggnet": training}).items():
        steps = {policy: build(policy) for policy in POLICIES}
        for step in steps.values():
            step()  # TensorFlow traces
        rounds = [{policy: rate(step) for policy, step in steps.items()} for _ in range(arguments.rounds)]
        exact, reduced = (statistics.median(each[policy] for each in rounds) for policy in POLICIES)
        print(f"| {name} | {exact:.1f} | {reduced:.1f} | {reduced / exact:.2f} |", flush=True)


if __name__ == "__main__":
    main()
