"""What starting costs: `--help` of every stage and command, and one epoch of `train` on the features at hand.

    python -m benchmarks.startup [--rounds 5]

Programs run one after the other in each round; the table has the medians. `--help` is compared with a Python that does
nothing, `train` with a Python that only imports TensorFlow, Keras and MLflow. `train` works in a temporary copy of what
it reads here, with its own cache and its own MLflow store, so nothing is written.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from darkroom.__main__ import COMMANDS
from darkroom.core.params import overlay
from darkroom.core.paths import EXTRACT_REPORT, FEATURES, MODELS, PARAMS, SPLIT_REPORT
from darkroom.pipeline import params
from darkroom.pipeline.params import STAGES

NOTHING = ["-c", ""]
LIBRARIES = ["-c", "import tensorflow, keras, mlflow; tensorflow.config.list_physical_devices()"]
HELP = {name: ["-m", f"stages.{name}", "--help"] for name in STAGES}
HELP |= {name: ["-m", "darkroom", name, "--help"] for name in COMMANDS}
TRAIN = ["-m", "stages.train"]


def seconds(arguments: Sequence[str], folder: Path) -> float:
    """Time Python with these arguments.

    Raises:
        CalledProcessError: it failed.
    """
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


def train_again(folder: Path) -> float:
    """Time a training that finds no state of an earlier one."""
    for left in (folder / ".cache", folder / MODELS):
        shutil.rmtree(left, ignore_errors=True)
    return seconds(TRAIN, folder)


def row(name: str, measured: list[float], base: list[float]) -> str:
    """A row of a Markdown table."""
    median, base_median = statistics.median(measured), statistics.median(base)
    return f"| {name} | {median:.2f} | {median / base_median:.1f} |"


def main() -> None:
    """Print a row of a Markdown table for each program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = range(parser.parse_args().rounds)
    here = Path.cwd()
    print("| program | s | against Python alone |\n| --- | --- | --- |")
    times = [{name: seconds(arguments, here) for name, arguments in {"": NOTHING, **HELP}.items()} for _ in rounds]
    for name in HELP:
        print(row(f"{name} --help", [each[name] for each in times], [each[""] for each in times]), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / PARAMS).write_text(yaml.safe_dump(overlay(params.load(), {"train": {"epochs": 1}})))
        (folder / EXTRACT_REPORT).parent.mkdir()
        for path in (EXTRACT_REPORT, SPLIT_REPORT):
            shutil.copy(path, folder / path)
        (folder / FEATURES).parent.mkdir()
        (folder / FEATURES).symlink_to(FEATURES.absolute())
        train_again(folder)  # creates MLflow's store
        pairs = [(seconds(LIBRARIES, folder), train_again(folder)) for _ in rounds]
    print("\n| program | s | against its imports |\n| --- | --- | --- |")
    print(row("train, one epoch", [trained for _, trained in pairs], [imported for imported, _ in pairs]))


if __name__ == "__main__":
    main()
