"""Say whether B is better than A: two models, or two states of this project, on the same test pictures.

    python -m darkroom compare main workspace
    python -m darkroom compare models:/animals@champion models:/animals@candidate --csv differences.csv

A and B are each `workspace`, a git revision or a DVC experiment, an MLflow run id, a model in MLflow (models:/…,
runs:/…), or the path of a predictions.csv. Better means more right answers, by more than chance: McNemar's exact test
(1947), p below 0.05. The interval of that difference is Newcombe's (1998, method 10), of the log loss Student's (1908).

Reads   reports/predictions.csv of A and of B
Writes  with --csv every picture on which they differ
"""

from pathlib import Path
from typing import Any

import numpy as np

from darkroom.commands.compare.paired import SURE, Paired, losses, mean_difference
from darkroom.commands.compare.predictions import Rows, read
from darkroom.core.errors import UserError
from darkroom.core.files import write_csv
from darkroom.core.terminal import table

TRUE = "label_probability"


def main(first: str, second: str, shown: int, file: Path | None) -> None:
    """Read both, compare, print, and write what was asked for."""
    if shown < 0:
        raise UserError(f"--list is {shown}, but must be 0 or more.")
    a, b = read(first), read(second)
    same_test_set(first, a, second, b)
    differing = [(path, row["label"], row["predicted"], b[path]["predicted"]) for path, row in a.items()]
    differing = [row for row in differing if row[2] != row[3]]
    print(f"A is {first}, B is {second}, on the same {len(a):,} test pictures.\n\n{figures(a, b)}\n")
    if differing and shown:
        print(table([("picture", "label", "A says", "B says"), *differing[:shown]]))
        if len(differing) > shown:
            print(f"… and {len(differing) - shown:,} more: --list N shows more, --csv FILE writes all of them.")
        print()
    if file:
        write_csv(file, ("path", "label", "a", "b"), differing)
    print(verdict(paired(a, b)) if differing else "A and B say the same of every picture.")


def same_test_set(first: str, a: Rows, second: str, b: Rows) -> None:
    """Raise a UserError unless both hold the same pictures with the same labels."""
    for one, theirs, other, others in ((first, a, second, b), (second, b, first, a)):
        missing = [path for path in theirs if path not in others]
        if missing:
            raise UserError(
                f"these are different test sets: {len(missing):,} of {one}'s {len(theirs):,} pictures are not in "
                f"{other}, such as {missing[0]}."
            )
    relabelled = [path for path in a if a[path]["label"] != b[path]["label"]]
    if relabelled:
        path = relabelled[0]
        raise UserError(
            f"these are different test sets: {len(relabelled):,} labels differ, such as that of {path}, "
            f"{a[path]['label']} in {first} and {b[path]['label']} in {second}."
        )


def paired(a: Rows, b: Rows) -> Paired:
    """How often each is right."""
    right = [np.array([rows[path]["predicted"] == rows[path]["label"] for path in a]) for rows in (a, b)]
    return Paired.of(right[0], right[1])


def figures(a: Rows, b: Rows) -> str:
    """Accuracies, their difference, and the log loss where both have it."""
    pair = paired(a, b)
    differ = sum(row["predicted"] != b[path]["predicted"] for path, row in a.items())
    lines = [
        f"accuracy of A          {pair.first.text()}",
        f"accuracy of B          {pair.second.text()}",
        f"B - A                  {pair.difference.text('+')}; McNemar's p = {pair.p:.2g}",
    ]
    if all(TRUE in row for rows in (a, b) for row in rows.values()):
        one, two = (losses(np.array([float(rows[path][TRUE]) for path in a])) for rows in (a, b))
        lines += [
            f"log loss of A          {one.mean():.4f}",
            f"log loss of B          {two.mean():.4f}",
            f"B - A                  {mean_difference(one, two).text('+')} (lower is better)",
        ]
    return "\n".join(
        [
            *lines,
            f"different answers      {differ:,}: A alone is right on {pair.only_first:,}, B alone on "
            f"{pair.only_second:,}, neither on {differ - pair.only_first - pair.only_second:,}",
        ]
    )


def verdict(pair: Paired) -> str:
    """One line in plain words."""
    if pair.p >= SURE:
        return f"No difference that could not be chance (p = {pair.p:.2g})."
    return f"B is {'better' if pair.only_second > pair.only_first else 'worse'} than A (p = {pair.p:.2g})."


ARGUMENTS: dict[str, dict[str, Any]] = {
    "first": {"metavar": "A", "help": "the one that is compared with"},
    "second": {"metavar": "B", "help": "the one that may be better"},
    "--list": {"dest": "shown", "metavar": "N", "type": int, "default": 20, "help": "pictures shown (20)"},
    "--csv": {"dest": "file", "metavar": "FILE", "type": Path, "help": "where all of them are written"},
}
