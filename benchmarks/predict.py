"""Predicting a folder as `stages.predict` does, against one call for each picture: pictures a second.

    python -m benchmarks.predict FOLDER [--exports exports] [--count 1000] [--rounds 3]

Every format that is there is measured. Each round does both ways on the same pictures, files to probabilities, one
after the other; the middle of the rounds counts, after a picture of every size has been seen once.
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
    """The obvious loop."""
    for path in paths:
        exported.probabilities(decode(path)[None])


def together(exported: Exported, paths: list[Path]) -> None:
    """In batches, decoded ahead by threads."""
    deque(classify(exported, paths), maxlen=0)


def seconds(way: Callable[[Exported, list[Path]], None], exported: Exported, paths: list[Path]) -> float:
    """How long a way takes."""
    started = time.perf_counter()
    way(exported, paths)
    return time.perf_counter() - started


def main() -> None:
    """Print a row of a Markdown table for each format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--exports", type=Path, default=EXPORTS)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    paths = [path for path, error in predict.find([given.folder]) if error is None][: given.count]
    print(f"{len(paths):,} pictures of {given.folder}, the middle of {given.rounds} rounds\n")
    print("| format | one by one, pictures/s | together, pictures/s | times as fast |\n| --- | --- | --- | --- |")
    for name in formats.FILES.values():
        if not (given.exports / name).exists():
            continue
        exported = formats.load(given.exports / name)
        one_by_one(exported, paths[:50])
        together(exported, paths[:50])
        pairs = [[seconds(way, exported, paths) for way in (one_by_one, together)] for _ in range(given.rounds)]
        single, batched = (statistics.median(times) for times in zip(*pairs, strict=True))
        row = f"| {name} | {len(paths) / single:.1f} | {len(paths) / batched:.1f} | {single / batched:.2f} |"
        print(row, flush=True)


if __name__ == "__main__":
    main()
