"""Throughput of `python -m darkroom predict` on a folder, compared with ONNX Runtime alone and one call a picture.

    python -m benchmarks.predict FOLDER [--exports exports] [--trust] [--count 1000] [--single 1000] [--rounds 3] [--json FILE]

Every exported format is measured, from files to probabilities; pictures repeat if FOLDER has fewer than --count. The
baseline is ONNX Runtime alone with the exported model.onnx: batches of random pixels, in memory before the clock
starts, in the size of the network's input (of the model in models/; or --size), so that the model scales nothing.
One by one, only --single pictures are classified. The rates are per second, so all of them can be compared.
"""  # noqa: E501

import argparse
import functools
from collections import deque
from pathlib import Path

import numpy as np

from benchmarks import engines, rounds
from benchmarks.rounds import Figures, Way
from darkroom.commands.predict import command as predict
from darkroom.core.model_spec import ModelSpec
from darkroom.core.paths import EXPORTS, MODELS
from darkroom.images.decode import decode
from darkroom.inference import formats
from darkroom.inference.formats import Exported
from darkroom.inference.predictor import BATCH, classify

BASE = "ONNX Runtime alone on ready tensors"


def one_by_one(exported: Exported, paths: list[Path]) -> None:
    """Decode and classify picture by picture."""
    for path in paths:
        exported.probabilities(decode(path)[None])


def batched(exported: Exported, paths: list[Path]) -> None:
    """Classify in batches, decoded ahead by threads."""
    deque(classify(exported, paths), maxlen=0)


def alone(file: Path, side: tuple[int, int], count: int) -> Way:
    """The engine on as many pictures, in full batches."""
    ready = np.random.default_rng(0).integers(0, 256, (BATCH, *side, 3), np.uint8)
    return engines.onnx_runtime(file, ready, -(-count // BATCH))


def measured(arguments: argparse.Namespace, paths: list[Path]) -> Figures:
    """Pictures per second of every way."""
    ways: dict[str, tuple[Way, int]] = {}
    file = arguments.exports / formats.FORMATS["onnx"].file
    if file.exists():
        side = (arguments.size, arguments.size) if arguments.size else ModelSpec.load(MODELS).backbone.size
        ways[BASE] = alone(file, side, len(paths)), -(-len(paths) // BATCH) * BATCH
    single = paths[: arguments.single]
    for registered in formats.FORMATS.values():
        if (arguments.exports / registered.file).exists():
            exported = formats.load(arguments.exports / registered.file, arguments.trust)
            for method in (one_by_one, batched):
                method(exported, paths[:50])
            ways[f"{registered.file}, one by one"] = functools.partial(one_by_one, exported, single), len(single)
            ways[f"{registered.file}, batched"] = functools.partial(batched, exported, paths), len(paths)
    times = rounds.measure({name: way for name, (way, _) in ways.items()}, arguments.rounds, warm_up=False)
    return {name: [ways[name][1] / value for value in values] for name, values in times.items()}


def main() -> None:
    """Print a row of a Markdown table for each format and way."""
    parser = rounds.parser(__doc__)
    parser.add_argument("folder")
    parser.add_argument("--exports", type=Path, default=EXPORTS)
    parser.add_argument("--trust", **formats.TRUST)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--single", type=int, default=1000)
    parser.add_argument("--size", type=int)
    arguments = parser.parse_args()
    found = [path for path, error in predict.find([arguments.folder]) if error is None]
    paths = (found * -(-arguments.count // len(found)))[: arguments.count]
    repeated = f" ({len(found):,} of them, repeated)" if len(found) < len(paths) else ""
    print(f"{len(paths):,} pictures of {arguments.folder}{repeated}, median of {arguments.rounds} rounds\n")
    figures = measured(arguments, paths)
    rounds.table("way", "pictures/s", figures)
    rounds.save(arguments.json, figures)


if __name__ == "__main__":
    main()
