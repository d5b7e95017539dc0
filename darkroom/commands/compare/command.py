"""Test whether model B beats model A on the same test pictures.

    python -m darkroom compare main workspace
    python -m darkroom compare models:/animals@champion models:/animals@candidate --csv differences.csv
    python -m darkroom compare HEAD~1 workspace --corrected    # by the labels that people decided on since

A and B are each `workspace`, a git revision or a DVC experiment, an MLflow run id, a model in MLflow (models:/…,
runs:/…), or the path of a predictions.csv. Better means significantly more right answers: McNemar's exact test (1947),
p below 0.05. The interval of the difference in accuracy is Newcombe's (1998, method 10), that of the difference in log
loss Student's (1908).

Reads   reports/predictions.csv of A and of B; with --corrected, reports/groups.csv of this workspace
Writes  with --csv, the pictures on which their predictions differ
"""

from pathlib import Path
from typing import Any

import numpy as np

from darkroom.commands.compare.predictions import LABEL_PROBABILITY, Predictions, read
from darkroom.core.errors import UserError
from darkroom.core.files import write_csv
from darkroom.core.terminal import table
from darkroom.evaluate.corrections import read as read_corrections
from darkroom.evaluate.statistics import SIGNIFICANT, Paired, log_losses, mean_difference

HINT = " If people decided on labels in between, --corrected measures both by their decisions."


def main(first: str, second: str, limit: int, file: Path | None, corrected: bool = False) -> None:
    """Read both predictions, compare them, and print or write the result."""
    if limit < 0:
        raise UserError(f"--list is {limit}, but must be 0 or more.")
    a, b = read(first), read(second)
    if corrected:
        a, b = by_decisions(a), by_decisions(b)
    require_same_test_set(first, a, second, b)
    differing = [
        (path, row["label"], row["predicted"], b[path]["predicted"])
        for path, row in a.items()
        if row["predicted"] != b[path]["predicted"]
    ]
    pair = paired(a, b)
    print(f"A is {first}, B is {second}, on the same {len(a):,} test pictures.\n\n{metrics(a, b, pair)}")
    print(
        f"different predictions  {len(differing):,}: only A is right on {pair.only_first:,}, only B on "
        f"{pair.only_second:,}, neither on {len(differing) - pair.only_first - pair.only_second:,}\n"
    )
    if differing and limit:
        print(table([("picture", "label", "A predicts", "B predicts"), *differing[:limit]]))
        if len(differing) > limit:
            print(f"… and {len(differing) - limit:,} more: --list N shows more, --csv FILE writes all of them.")
        print()
    if file:
        write_csv(file, ("path", "label", "a", "b"), differing)
    print(verdict(pair) if differing else "The predictions of A and B are the same.")


def require_same_test_set(first: str, a: Predictions, second: str, b: Predictions) -> None:
    """Raise a UserError unless both hold the same pictures with the same labels."""
    for name, rows, other_name, other_rows in ((first, a, second, b), (second, b, first, a)):
        missing = [path for path in rows if path not in other_rows]
        if missing:
            raise UserError(
                f"these are different test sets: {len(missing):,} of {name}'s {len(rows):,} pictures are not in "
                f"{other_name}, such as {missing[0]}.{HINT}"
            )
    relabelled = [path for path in a if a[path]["label"] != b[path]["label"]]
    if relabelled:
        path = relabelled[0]
        raise UserError(
            f"these are different test sets: {len(relabelled):,} labels differ, such as that of {path}, "
            f"{a[path]['label']} in {first} and {b[path]['label']} in {second}.{HINT}"
        )


def by_decisions(rows: Predictions) -> Predictions:
    """The predictions on the test pictures of this workspace, with the labels that people decided on.

    Without the probabilities of the labels, if one of these was changed: a row has no other label's.
    """
    corrections = read_corrections("test")
    now = {before: after for after, before in corrections.relabelled.items()}
    result: Predictions = {}
    for path, row in rows.items():
        if path not in corrections.dropped:
            moved = now.get(path, path)
            result[moved] = row | {"path": moved, "label": moved.split("/")[-2] if path in now else row["label"]}
    if any(row["label"] != rows.get(path, row)["label"] or path not in rows for path, row in result.items()):
        result = {
            path: {key: value for key, value in row.items() if key != LABEL_PROBABILITY} for path, row in result.items()
        }
    return result


def paired(a: Predictions, b: Predictions) -> Paired:
    """Count on which pictures each is right."""
    right = [np.array([rows[path]["predicted"] == rows[path]["label"] for path in a]) for rows in (a, b)]
    return Paired.of(right[0], right[1])


def metrics(a: Predictions, b: Predictions, pair: Paired) -> str:
    """Lines with the accuracies, the log losses where both have probabilities, and their differences."""
    lines = [
        f"accuracy of A          {pair.first.text()}",
        f"accuracy of B          {pair.second.text()}",
        f"B - A                  {pair.difference.text('+.4f')}; McNemar's p = {pair.p:.2g}",
    ]
    if all(LABEL_PROBABILITY in row for rows in (a, b) for row in rows.values()):
        of_a, of_b = (log_losses(np.array([float(rows[path][LABEL_PROBABILITY]) for path in a])) for rows in (a, b))
        lines += [
            f"log loss of A          {of_a.mean():.4f}",
            f"log loss of B          {of_b.mean():.4f}",
            f"B - A                  {mean_difference(of_a, of_b).text('+.4f')} (lower is better)",
        ]
    return "\n".join(lines)


def verdict(pair: Paired) -> str:
    """The conclusion in one sentence."""
    if pair.p >= SIGNIFICANT:
        return f"No significant difference (p = {pair.p:.2g})."
    return f"B is {'better' if pair.only_second > pair.only_first else 'worse'} than A (p = {pair.p:.2g})."


ARGUMENTS: dict[str, dict[str, Any]] = {
    "first": {"metavar": "A", "help": "the baseline"},
    "second": {"metavar": "B", "help": "the model that may be better"},
    "--list": {"dest": "limit", "metavar": "N", "type": int, "default": 20, "help": "pictures to list (20)"},
    "--csv": {"dest": "file", "metavar": "FILE", "type": Path, "help": "write all pictures that differ to this file"},
    "--corrected": {
        "action": "store_true",
        "help": "measure both by the decisions on labels in this workspace's last run; pictures that were dropped are "
        "left out",
    },
}
