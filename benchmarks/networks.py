"""Training a network from scratch: the tutorials' own code against stage `train`, on the same pictures.

    python -m benchmarks.networks [fashion_cnn | mini_vggnet] [--epochs 4] [--count N] [--rounds 3] [--json FILE]

The pictures are those of data/split and data/augmented (`dvc repro augment`), or `--count` of the training pictures;
the settings are those of the recipes fashion_cnn and animals_minivgg, which are the tutorials'. Each training is a
process of its own, so that the peak of its memory is its own. An epoch lasts from the end of the one before to its own
end, validation and checkpoint included; the first, in which TensorFlow traces and pictures are decoded, is not counted.
Both ways decode the same files. By default Keras compiles the tutorials' networks with XLA; they are also measured
without, as Darkroom trains. Nothing is written outside temporary folders.
"""

import argparse
import importlib
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import rounds

RECIPES = {"fashion_cnn": "fashion_cnn", "mini_vggnet": "animals_minivgg"}
WAYS = {
    "the tutorial": ("tutorial", "auto"),
    "the tutorial without XLA": ("tutorial", "no"),
    "Darkroom, float32": ("stage", "float32"),
    "Darkroom, precision auto": ("stage", "auto"),
}


def training(**job: Any) -> dict[str, Any]:
    """Train once in a process of its own: seconds of the epochs, accuracy on validation, peak memory in MB."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "benchmarks.networks", "--job", json.dumps({**job, "scratch": scratch})]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise SystemExit(f"{job} failed:\n{process.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return result


def train(module: str, scratch: str, **settings: Any) -> None:
    """What that process does."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    way = importlib.import_module(f"benchmarks.networks_{module}")
    ends, accuracy = way.train(scratch=Path(scratch), **settings)
    # Not the maximum that `resource` gives: that counts what the parent held when it started this process.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    seconds = [later - earlier for earlier, later in itertools.pairwise(ends)]
    print(json.dumps({"seconds": seconds, "accuracy": accuracy, "peak": int(peak[1]) / 1024 if peak else 0}))


def median(results: Sequence[dict[str, Any]], key: str) -> float:
    """The median over all rounds; of seconds, over their epochs, too."""
    values = [result[key] for result in results]
    return float(statistics.median(itertools.chain(*values) if key == "seconds" else values))


def main() -> None:
    """Print a table for each network."""
    parser = rounds.parser(__doc__)
    parser.add_argument("network", nargs="?", choices=list(RECIPES))
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--count", type=int)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        train(**json.loads(arguments.job))
        return
    if arguments.epochs < 2:
        parser.error("--epochs must be at least 2, as the first is not counted")
    everything: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for network in [arguments.network] if arguments.network else RECIPES:
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
        for _ in range(arguments.rounds):
            for name, (module, setting) in WAYS.items():
                job = {"module": module, "setting": setting, "network": network}
                results[name].append(training(**job, epochs=arguments.epochs, count=arguments.count))
        rounds.header(network, "s an epoch", "times as fast", f"accuracy after {arguments.epochs}", "peak MB", "ratio")
        keys = ("seconds", "accuracy", "peak")
        base, *_, most = (median(results["the tutorial"], key) for key in keys)
        for name in WAYS:
            epoch, accuracy, peak = (median(results[name], key) for key in keys)
            cells = (f"{epoch:.2f}", f"{base / epoch:.2f}", f"{accuracy:.4f}", f"{peak:,.0f}", f"{peak / most:.2f}")
            rounds.row(name, *cells)
        print()
        everything[network] = results
    rounds.save(arguments.json, everything)


if __name__ == "__main__":
    main()
