"""Throughput of `python -m darkroom predict` on a folder, compared with one call for each picture.

    python -m benchmarks.predict FOLDER [--exports exports] [--trust] [--count 1000] [--rounds 3]

Every exported format is measured. Each round runs both methods on the same pictures, from files to probabilities, one
after the other. The table has the median of the rounds, after a warm-up on the first pictures.
"""

import argparse
import statistics
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from darkroom.commands.predict import command as predict
from darkroom.core.paths import EXPORTS
from darkroom.images.decode import decode
from darkroom.inference import formats
from darkroom.inference.formats import Exported
from darkroom.inference.predictor import classify


def one_by_one(exported: Exported, paths: list[Path]) -> None:
    """Decode and classify picture by picture."""
    for path in paths:
        exported.probabilities(decode(path)[None])


def batched(exported: Exported, paths: list[Path]) -> None:
    """Classify in batches, decoded ahead by threads."""
    deque(classify(exported, paths), maxlen=0)


def seconds(method: Callable[[Exported, list[Path]], None], exported: Exported, paths: list[Path]) -> float:
    """Time one run of a method."""
    started = time.perf_counter()
    method(exported, paths)
    return time.perf_counter() - started


def main() -> None:
    """Print a row of a Markdown table for each format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--exports", type=Path, default=EXPORTS)
    parser.add_argument("--trust", **formats.TRUST)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    paths = [path for path, error in predict.find([arguments.folder]) if error is None][: arguments.count]
    print(f"{len(paths):,} pictures of {arguments.folder}, median of {arguments.rounds} rounds\n")
    print("| format | one by one, pictures/s | batched, pictures/s | speed-up |\n| --- | --- | --- | --- |")
    for name in [registered.file for registered in formats.FORMATS.values()]:
        if not (arguments.exports / name).exists():
            continue
        exported = formats.load(arguments.exports / name, arguments.trust)
        one_by_one(exported, paths[:50])
        batched(exported, paths[:50])
        pairs = [
            [seconds(method, exported, paths) for method in (one_by_one, batched)] for _ in range(arguments.rounds)
        ]
        single, together = (statistics.median(times) for times in zip(*pairs, strict=True))
        row = f"| {name} | {len(paths) / single:.1f} | {len(paths) / together:.1f} | {single / together:.2f} |"
        print(row, flush=True)


if __name__ == "__main__":
    main()
