"""Compare the last run of a recipe with its recorded results.

Its accuracy on test should lie in the 95 % interval of the recorded run with the same seed, or else of the first one;
if it does not, the exit code is 1. `--record` adds the last run to the record instead, and `--table` prints the record
as recipes/README.md has it.

Reads   recipes/results.csv, recipes/NAME.yaml, params.yaml, models, reports/metrics.json
Writes  recipes/results.csv (with --record)
"""

import statistics
from itertools import groupby
from typing import Any

from darkroom.core import precision, reports
from darkroom.core.errors import UserError
from darkroom.core.files import read_csv, write_csv
from darkroom.core.metric_table import Estimate
from darkroom.core.model_spec import verified_sha256
from darkroom.core.paths import METRICS
from darkroom.pipeline import params, recipes
from darkroom.pipeline.git import git

RESULTS = recipes.RECIPES / "results.csv"
FIGURES = ("accuracy", "accuracy_low", "accuracy_high", "log_loss", "accuracy_val", "n_test")
INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")  # the fastest first
COLUMNS = ("recipe", "seed", *FIGURES, "minutes", "processor", "commit")


def main(name: str | None, record: float | None, table: bool) -> None:
    """Compare, record, or print the table.

    Raises:
        UserError: the last run is not one of the recipe's, or its accuracy lies outside the interval.
    """
    rows = read_csv(RESULTS, COLUMNS, ("seed", *FIGURES, "minutes")) if RESULTS.exists() else []
    if table or name is None:
        print(markdown(rows))
        return
    run = last_run(name)
    if record is not None:
        row = run | {"minutes": f"{record:g}", "processor": processor(), "commit": git("rev-parse", "--short", "HEAD")}
        write_csv(RESULTS, COLUMNS, [[entry[column] for column in COLUMNS] for entry in [*rows, row]])
        print(f"{RESULTS}: {name}, seed {run['seed']}, accuracy {float(run['accuracy']):.4f}")
        return
    print(comparison(run, rows))


def last_run(name: str) -> dict[str, str]:
    """The figures of the run in reports/, as texts.

    Raises:
        UserError: there is none, or its settings are not those of the recipe.
    """
    if name not in recipes.names():
        raise UserError(f"there is no recipe {name}. {recipes.listing()}")
    content = params.complete(params.load())
    if different := recipes.deviations(name, content):
        raise UserError(
            f"params.yaml differs from recipe {name} in {', '.join(different)}: run make recipe NAME={name} first."
        )
    if not METRICS.exists():
        raise UserError(f"there is no {METRICS} yet: run make recipe NAME={name} first.")
    metrics = reports.metrics()
    if metrics["model_sha256"] != verified_sha256():
        raise UserError(f"{METRICS} belongs to another model than models: run `dvc repro evaluate`.")
    return {"recipe": name, "seed": str(content["base"]["seed"]), **{key: str(metrics[key]) for key in FIGURES}}


def comparison(run: dict[str, str], rows: list[dict[str, str]]) -> str:
    """One sentence on a run and the recorded one.

    Raises:
        UserError: the accuracy lies outside the recorded interval, or none is recorded.
    """
    own = [row for row in rows if row["recipe"] == run["recipe"]]
    if not own:
        raise UserError(f"no result of recipe {run['recipe']} is recorded: its data or weights were not at hand.")
    other = next((row for row in own if row["seed"] == run["seed"]), own[0])
    low, high, accuracy = (float(other[key]) for key in ("accuracy_low", "accuracy_high", "accuracy"))
    recorded = Estimate(accuracy, low, high).text()
    sentence = f"{run['recipe']}, seed {run['seed']}: {float(run['accuracy']):.4f} on test; recorded {recorded}"
    if not low <= float(run["accuracy"]) <= high:
        raise UserError(f"{sentence}, seed {other['seed']}: outside the interval.")
    return f"{sentence}, seed {other['seed']}: inside the interval"


def markdown(rows: list[dict[str, str]]) -> str:
    """The record as a table in Markdown: a line for each recipe, with mean and spread over its seeds."""
    lines = [
        "| recipe | test accuracy, mean over seeds (least to most) | intervals of the single runs | log loss "
        "| validation | minutes a run | machine | commit |",
        "|" + " --- |" * 8,
    ]
    for name, group in groupby(sorted(rows, key=lambda row: row["recipe"]), key=lambda row: row["recipe"]):
        runs = sorted(group, key=lambda row: int(row["seed"]))
        mean = {key: statistics.mean(float(row[key]) for row in runs) for key in FIGURES}
        accuracies = [float(row["accuracy"]) for row in runs]
        spread = f" ({min(accuracies):.4f} to {max(accuracies):.4f})" if len(runs) > 1 else ""
        seeds = ", ".join(row["seed"] for row in runs)
        cells = [
            f"`{name}`",
            f"**{mean['accuracy']:.4f}**{spread}, seed{'s' if len(runs) > 1 else ''} {seeds}",
            "; ".join(
                Estimate(0, *(float(row[f"accuracy_{end}"]) for end in ("low", "high"))).interval() for row in runs
            ),
            f"{mean['log_loss']:.4f}",
            f"{mean['accuracy_val']:.4f}",
            " to ".join(dict.fromkeys(f"{pick(float(row['minutes']) for row in runs):g}" for pick in (min, max))),
            ", ".join(dict.fromkeys(row["processor"] for row in runs)),
            ", ".join(dict.fromkeys(row["commit"] for row in runs)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def processor() -> str:
    """The CPU's name, and the fastest of its instruction sets for networks."""
    name, flags = next(iter(precision.cpu_info().get("model name", ())), "unknown"), precision.cpu_flags()
    return " with ".join([name, *(flag for flag in INSTRUCTIONS if flag in flags)][:2])


ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"nargs": "?", "metavar": "NAME", "help": "the recipe that ran last"},
    "--record": {"type": float, "metavar": "MINUTES", "help": "add the last run, which took so long, to the record"},
    "--table": {"action": "store_true", "help": "print the record as a table in Markdown"},
}
