"""What `precision: auto` should be here: pictures per second of a network in float32 and in mixed_bfloat16.

    python -m benchmarks.precision [--backbone VGG16] [--rounds 3] [--json FILE]

Batches of random pixels go through the frozen network, and through training steps of `mini_vggnet`, in turn in each
precision; the table has the medians. The ratio is to float32: `auto` is right if it takes bfloat16 exactly where the
ratio is above 1. Nothing is written but FILE.
"""

import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from benchmarks import rounds
from benchmarks.rounds import Figures, Way
from darkroom.backbones import keras_apps
from darkroom.core import precision, runtime
from darkroom.extract.forward import BATCH
from darkroom.models import networks

POLICIES = (precision.EXACT, "mixed_bfloat16")
STEPS = 3


def forward(name: str, side: int, policy: str) -> Way:
    """Passes of a batch through a frozen network."""
    model = keras_apps.network(name, (side, side), policy)
    call = tf.function(lambda pixels: model(pixels, training=False))
    pixels = tf.constant(np.random.default_rng(0).uniform(0, 255, (BATCH, side, side, 3)), tf.float32)
    return lambda: [call(pixels).numpy() for _ in range(STEPS)]


def training(policy: str) -> Way:
    """Training steps of a batch."""
    settings = {"name": "mini_vggnet", "image_size": [32, 32], "color": "rgb", "activation": None}
    model = networks.build(settings, 10, policy)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    random = np.random.default_rng(0)
    pixels, labels = random.uniform(0, 255, (BATCH, 32, 32, 3)).astype(np.float32), random.integers(0, 10, BATCH)
    return lambda: [model.train_on_batch(pixels, labels) for _ in range(STEPS)]


def main() -> None:
    """Print a row of a Markdown table for each kind of work."""
    parser = rounds.parser(__doc__)
    parser.add_argument("--backbone", default="VGG16")
    arguments = parser.parse_args()
    runtime.prepare(42)
    choice = precision.choose("auto")
    print(f"auto takes {choice.policy} here: {choice.reason}\n")
    rounds.header("work", "float32, pictures/s", "mixed_bfloat16, pictures/s", "ratio")
    kinds: dict[str, Callable[[str], Way]] = {
        f"{arguments.backbone}, {side}x{side}": functools.partial(forward, arguments.backbone, side)
        for side in (64, 224)
    }
    kinds["training mini_vggnet"] = training
    everything: dict[str, Figures] = {}
    for name, build in kinds.items():
        times = rounds.measure({policy: build(policy) for policy in POLICIES}, arguments.rounds)
        figures = everything[name] = rounds.rates(times, STEPS * BATCH)
        exact, reduced = rounds.medians(figures).values()
        rounds.row(name, f"{exact:.1f}", f"{reduced:.1f}", f"{reduced / exact:.2f}")
    rounds.save(arguments.json, everything)


if __name__ == "__main__":
    main()
