"""What each training method is worth: a recipe with and without it, measured on validation.

    python -m benchmarks.ablation RECIPE CSV [--methods ema cutmix …] [--set KEY=VALUE …] [--seeds 1 2 3]

Methods that the recipe uses are left out one by one, and those that it does not use are added one by one. The test
split is not touched. Each run is a row of the file CSV as soon as it is done, and those that are in it are not
repeated, so that the benchmark can be stopped. Pictures in data/incoming are used where the recipe needs them. Time
is that of the processor, summed over its cores, so that other work on the machine changes it little.
"""

import argparse
import functools
import json
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import rounds
from darkroom.core.files import link_or_copy, read_csv, write_csv
from darkroom.core.folders import files_below
from darkroom.core.params import overlay
from darkroom.core.paths import INCOMING, PARAMS, TRAIN_REPORT
from darkroom.pipeline import params, recipes

# Where each method is set, and what is tried if the recipe does not use it.
METHODS: dict[str, tuple[str, Any]] = {
    "warmup": ("train.warmup_epochs", 2),
    "cosine": ("train.schedule", "cosine"),
    "ema": ("train.ema", 0.995),
    "label_smoothing": ("train.label_smoothing", 0.1),
    "stochastic_depth": ("train.scratch.stochastic_depth", 0.1),
    "mirror": ("train.scratch.mirror", True),
    "online": ("train.scratch.online", {"preset": "trivial_augment"}),
    "mixup": ("train.scratch.mixup", 0.2),
    "cutmix": ("train.scratch.cutmix", 1.0),
}
RECIPE = "the recipe"
COLUMNS = ("variant", "seed", "accuracy", "log_loss", "seconds")
Row = Mapping[str, Any]


def setting(content: Mapping[str, Any], key: str) -> Any:
    """The value of a key such as `train.ema`."""
    return functools.reduce(lambda section, part: section[part], key.split("."), content)


def variants(content: dict[str, Any], methods: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The recipe itself, and for each method the recipe without it, or with it if it lacks it."""
    yield RECIPE, content
    defaults = params.complete({})
    for method in methods:
        key, tried = METHODS[method]
        default = setting(defaults, key)
        used = setting(params.complete(content), key) != default
        name = f"{'without' if used else 'with'} {method}"
        yield name, overlay(content, recipes.parsed(f"{key}={json.dumps(default if used else tried)}"))  # JSON is YAML


def train(folder: Path, content: dict[str, Any], seed: int) -> tuple[float, float, float]:
    """Accuracy and log loss on validation, and the CPU seconds of the training."""
    (folder / PARAMS).write_text(json.dumps(content | {"base": {"seed": seed}}), encoding="utf-8")  # JSON is YAML
    subprocess.run(["dvc", "repro", "-q", "extract"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["dvc", "repro", "-q", "train"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report = json.loads((folder / TRAIN_REPORT).read_text(encoding="utf-8"))
    return report["final_val_accuracy"], report["final_val_log_loss"], seconds


def main() -> None:
    """Run what is missing, and print a Markdown table of all runs in the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("csv", type=Path)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[], metavar="METHOD")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    content = recipes.merged(arguments.recipe, arguments.settings)
    rows: list[Row] = list(read_csv(arguments.csv, COLUMNS)) if arguments.csv.exists() else []
    done = {(row["variant"], int(row["seed"])) for row in rows}
    with tempfile.TemporaryDirectory(prefix="darkroom-ablation-") as name:
        folder = Path(name) / "project"
        subprocess.run(["git", "clone", "-q", "--shared", ".", folder], check=True)
        for path in files_below(INCOMING):
            if path.name != ".gitkeep":
                link_or_copy(path, folder / path)
        for seed in arguments.seeds:
            for variant, settings in variants(content, arguments.methods):
                if (variant, seed) not in done:
                    figures = (round(figure, 4) for figure in train(folder, settings, seed))
                    rows.append(dict(zip(COLUMNS, (variant, seed, *figures), strict=True)))
                    write_csv(arguments.csv, COLUMNS, ([row[column] for column in COLUMNS] for row in rows))
                    print(*rows[-1].values(), flush=True)
    table(rows)


def table(rows: Sequence[Row]) -> None:
    """Print each variant's mean, and by how much it differs from the recipe with the same seeds."""
    figures = {
        column: {(row["variant"], int(row["seed"])): float(row[column]) for row in rows} for column in COLUMNS[2:]
    }
    rounds.header("variant", "seeds", "accuracy", "difference (least to most)", "log loss", "difference", "CPU seconds")
    for variant in dict.fromkeys(row["variant"] for row in rows):
        seeds = [int(row["seed"]) for row in rows if row["variant"] == variant]
        cells = []
        for column in ("accuracy", "log_loss"):
            values = figures[column]
            cells.append(f"{statistics.mean(values[variant, seed] for seed in seeds):.4f}")
            changes = [values[variant, seed] - values[RECIPE, seed] for seed in seeds if (RECIPE, seed) in values]
            spread = f" ({min(changes):+.4f} to {max(changes):+.4f})" if column == "accuracy" else ""
            cells.append("" if variant == RECIPE or not changes else f"{statistics.mean(changes):+.4f}{spread}")
        seconds = statistics.mean(figures["seconds"][variant, seed] for seed in seeds)
        rounds.row(variant, len(seeds), *cells, f"{seconds:.0f}")


if __name__ == "__main__":
    main()
