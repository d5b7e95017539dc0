"""Time and memory of every stage for growing numbers of pictures.

    python -m benchmarks.scale [--sizes 1000 3000 10000 30000 100000] [--json FILE] [--plot FILE.png]

For each size a temporary project with its own cache and MLflow store, and pictures of 32x32 in ten classes, made from
noise in a colour of the class, so that no two are near-duplicates. Little is computed for a picture, so that the rest
shows: VGG16 up to `block2_pool`, averaged, with random weights; a small network from scratch; two epochs. Augmentation
gives every class as many training pictures as it has pictures in all.

Memory is the largest sum of the resident memory of a stage's processes, sampled every 50 ms. The exponent is the slope
of log(seconds) against log(pictures) between the two largest sizes, both counted from the smallest: 1 is a straight
line, whatever the start of a program takes. There is none where a stage takes less than a second more than there.
"""

import argparse
import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import numpy as np
import psutil
import yaml
from PIL import Image

from darkroom.core.params import overlay
from darkroom.core.paths import INCOMING, PARAMS
from darkroom.drawing import figures
from darkroom.pipeline import params

SIDE, CLASSES = 32, 10
PAUSE = 0.05  # seconds between two samples of the memory
NEW = 0.1  # seconds for which a process may be a fork that shows its parent's memory as its own
FLAT_FROM = 3000  # pictures from which the growth of memory is counted
STORE = "mlflow.db"
SCRATCH = {"extract": {"backbone": None}, "train": {"mode": "scratch"}}
STAGES: dict[str, tuple[str, dict[str, Any]]] = {  # the row's name: the stage, and its change of the params
    **{stage: (stage, {}) for stage in ("download", "split", "augment", "extract")},
    "train on features": ("train", {}),
    "evaluate": ("evaluate", {}),
    "export": ("export", {}),
    "train from pictures": ("train", SCRATCH),
    "evaluate, from pictures": ("evaluate", SCRATCH),
}


class Cost(NamedTuple):
    """What a stage takes."""

    seconds: float
    cpu: float  # seconds of processor time, of all its processes
    memory: float  # MB


def settings(count: int) -> dict[str, Any]:
    """What differs from the project's params."""
    return {
        "download": {"source": "folder", "limit_per_class": None},
        "augment": {"target": count // CLASSES},
        "extract": {"weights": "random", "image_size": [SIDE, SIDE], "layers": ["block2_pool"], "pooling": "avg"},
        "train": {"network": "fashion_cnn", "epochs": 2},
    }


def make_pictures(folder: Path, count: int) -> None:
    """Make pictures of coarse noise: their low frequencies, and so their perceptual hashes, are all different."""
    random = np.random.default_rng(0)
    colours = random.integers(0, 96, (CLASSES, 3))
    for number in range(count):
        label = number % CLASSES
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 160, (8, 8, 3)) + colours[label]
        picture = Image.fromarray(coarse.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        picture.save(folder / str(label) / f"{number:06}.png", compress_level=1)


def run(stage: str, folder: Path) -> Cost:
    """Run a stage to its end.

    Raises:
        SystemExit: it failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "MLFLOW_TRACKING_URI": ""}
    with (folder / "log").open("w") as log:
        started, memory = time.perf_counter(), 0.0
        command = [sys.executable, "-m", f"stages.{stage}"]
        child = psutil.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
            memory = max(memory, resident(child))
            time.sleep(PAUSE)
        seconds = time.perf_counter() - started
    if ended[1]:
        raise SystemExit(f"{stage} failed:\n{(folder / 'log').read_text()[-3000:]}")
    return Cost(seconds, ended[2].ru_utime + ended[2].ru_stime, memory)


def resident(process: psutil.Process) -> float:
    """MB that a process and its children hold."""
    held = 0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if each is process or time.time() - each.create_time() > NEW:
                held += each.memory_info().rss
    return held / 1e6


def pipeline(count: int, store: Path) -> Iterator[tuple[str, Cost]]:
    """The cost of each stage for `count` pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(store, folder / STORE)
        make_pictures(folder / INCOMING, count)
        for row, (stage, change) in STAGES.items():
            content = overlay(overlay(params.load(), settings(count)), change)
            (folder / PARAMS).write_text(yaml.safe_dump(content))
            yield row, run(stage, folder)


def exponent(sizes: list[int], seconds: list[float]) -> str:
    """The slope between the two largest sizes, counted from the smallest."""
    more = [second - seconds[0] for second in seconds[-2:]]
    if len(sizes) < 3 or min(more) < 1:
        return ""
    return f"{math.log(more[1] / more[0]) / math.log((sizes[-1] - sizes[0]) / (sizes[-2] - sizes[0])):.2f}"


def table(sizes: list[int], costs: dict[str, list[Cost]]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield f"| stage: s, MB | {' | '.join(f'{size:,}' for size in sizes)} | growth of MB | exponent |"
    yield "| --- " * (len(sizes) + 3) + "|"
    base = next((place for place, size in enumerate(sizes) if size >= FLAT_FROM), 0)
    for row, measured in costs.items():
        cells = " | ".join(f"{cost.seconds:.1f}, {cost.memory:,.0f}" for cost in measured)
        growth = measured[-1].memory / measured[base].memory - 1
        yield f"| {row} | {cells} | {growth:+.0%} | {exponent(sizes, [cost.seconds for cost in measured])} |"


def plot(sizes: list[int], costs: dict[str, list[Cost]], target: Path) -> None:
    """Draw the seconds of each stage, and a straight line."""
    figure, axes = figures.pyplot.subplots(figsize=(9, 6))
    for row, measured in costs.items():
        axes.loglog(sizes, [cost.seconds for cost in measured], marker="o", label=row)
    most = max(measured[-1].seconds for measured in costs.values())
    axes.loglog(sizes, [most * size / sizes[-1] for size in sizes], "k--", label="a straight line")
    axes.set(xlabel="pictures", ylabel="seconds", xticks=sizes)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figures.save(figure, target)


def main() -> None:
    """Measure, print a row of a Markdown table for each stage, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 3000, 10_000, 30_000, 100_000])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    sizes, costs = sorted(arguments.sizes), dict[str, list[Cost]]()
    with tempfile.TemporaryDirectory() as name:
        store = Path(name, STORE)
        mlflow.MlflowClient(f"sqlite:///{store}").search_experiments()  # makes its tables, which takes seconds
        for size in sizes:
            for row, cost in pipeline(size, store):
                costs.setdefault(row, []).append(cost)
                print(
                    f"{size:,} {row}: {cost.seconds:.1f} s ({cost.cpu:.1f} of CPU), {cost.memory:,.0f} MB", flush=True
                )
    print("", *table(sizes, costs), sep="\n")
    if arguments.json:
        rows = {row: [cost._asdict() for cost in measured] for row, measured in costs.items()}
        arguments.json.write_text(json.dumps({"sizes": sizes, "costs": rows}))
    if arguments.plot:
        plot(sizes, costs, arguments.plot)


if __name__ == "__main__":
    main()
