"""What starting costs: `--help` of every stage and command, and one epoch of `train` on the features at hand.

    python -m benchmarks.startup [--rounds 5] [--json FILE]

Programs run one after the other in each round; the table has the medians. `--help` is compared with a Python that does
nothing, `train` with a Python that only imports TensorFlow, Keras and MLflow. `train` works in a temporary copy of what
it reads here, with its own cache and its own MLflow store, so nothing is written.
"""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from benchmarks import rounds
from benchmarks.rounds import Figures, Way
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


def run(arguments: Sequence[str], folder: Path) -> None:
    """Run Python with these arguments.

    Raises:
        CalledProcessError: it failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)


def train_again(folder: Path) -> None:
    """A training that finds no state of an earlier one."""
    for left in (folder / ".cache", folder / MODELS):
        shutil.rmtree(left, ignore_errors=True)
    run(TRAIN, folder)


def copied(folder: Path) -> None:
    """Put what `train` reads here into a folder, and one epoch into its settings."""
    (folder / PARAMS).write_text(yaml.safe_dump(overlay(params.load(), {"train": {"epochs": 1}})))
    (folder / EXTRACT_REPORT).parent.mkdir()
    for path in (EXTRACT_REPORT, SPLIT_REPORT):
        shutil.copy(path, folder / path)
    (folder / FEATURES).parent.mkdir()
    (folder / FEATURES).symlink_to(FEATURES.absolute())


def table(base: str, figures: Figures) -> None:
    """Print a row for each program but the first, with which it is compared."""
    rounds.header("program", "s", base)
    first, *others = figures
    for name in others:
        rounds.row(name, f"{rounds.medians(figures)[name]:.2f}", f"{rounds.ratio(figures, name, first):.1f}")
    print()


def main() -> None:
    """Print a row of a Markdown table for each program."""
    arguments = rounds.parser(__doc__, rounds=5).parse_args()
    programs = {"Python alone": NOTHING} | {f"{name} --help": command for name, command in HELP.items()}
    ways: dict[str, Way] = {name: functools.partial(run, command, Path.cwd()) for name, command in programs.items()}
    figures = rounds.measure(ways, arguments.rounds, warm_up=False)
    table("against Python alone", figures)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copied(folder)
        train_again(folder)  # creates MLflow's store
        pair: dict[str, Way] = {
            "imports": functools.partial(run, LIBRARIES, folder),
            "train, one epoch": lambda: train_again(folder),
        }
        trained = rounds.measure(pair, arguments.rounds, warm_up=False)
    table("against its imports", trained)
    rounds.save(arguments.json, figures | trained)


if __name__ == "__main__":
    main()
