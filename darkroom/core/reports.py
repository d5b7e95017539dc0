"""The reports that later stages and commands read, each checked against another report that counts the same things.

A table that was cut off at the end of a line is valid, and only too short. Every function here raises a UserError that
names the stage to run if its report is missing, damaged or incomplete.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from darkroom.core import outputs, paths
from darkroom.core.files import read_csv, read_json

Rows = list[dict[str, str]]


def dataset() -> dict[str, Any]:
    """The report of `download`."""
    content: dict[str, Any] = read_json(paths.DATASET_REPORT, classes=dict)
    _require_numbers(content["classes"], paths.DATASET_REPORT)
    return content


def split() -> Rows:
    """The part of every picture in data/split."""
    rows = read_csv(paths.SPLIT_REPORT, ("picture", "class", "split", "md5"))
    table = read_json(paths.SPLIT_SUMMARY, classes=dict)["classes"]
    expected = {(label, part): count for label, counts in table.items() for part, count in counts.items() if count}
    _require(Counter((row["class"], row["split"]) for row in rows) == expected, paths.SPLIT_REPORT, paths.SPLIT_SUMMARY)
    return rows


def augmentation() -> dict[str, dict[str, int]]:
    """Of each class: `pictures` in data/split/train, pictures `added`, and those `left_out`."""
    content: dict[str, dict[str, int]] = read_json(paths.AUGMENT_REPORT)
    for counts in content.values() if isinstance(content, dict) else [None]:
        if not isinstance(counts, dict) or {"pictures", "added", "left_out"} - counts.keys():
            raise outputs.damaged(paths.AUGMENT_REPORT, "it has no counts of the classes")
        _require_numbers(counts, paths.AUGMENT_REPORT)
    return content


def training() -> dict[str, Any]:
    """The report of `train`."""
    content: dict[str, Any] = read_json(paths.TRAIN_REPORT, model_sha256=str, epochs=int, params=dict)
    return content


def history() -> Rows:
    """The figures of every epoch."""
    rows = read_csv(paths.HISTORY, (), ("epoch", "loss", "val_loss", "accuracy", "val_accuracy"))
    epochs = [str(epoch) for epoch in range(1, training()["epochs"] + 1)]
    _require([row["epoch"] for row in rows] == epochs, paths.HISTORY, paths.TRAIN_REPORT)
    return rows


def metrics() -> dict[str, Any]:
    """The report of `evaluate`."""
    content: dict[str, Any] = read_json(paths.METRICS, model_sha256=str, accuracy=float)
    _require_numbers({key: value for key, value in content.items() if key != "model_sha256"}, paths.METRICS)
    return content


def predictions() -> Rows:
    """The prediction on every test picture."""
    columns = ("path", "label", "predicted"), ("probability", "label_probability")
    rows = read_csv(paths.PREDICTIONS, *columns)
    _require(len(rows) == metrics().get("n_test", 0), paths.PREDICTIONS, paths.METRICS)
    return rows


def per_class() -> Rows:
    """The scores of every class."""
    rows = read_csv(paths.PER_CLASS, ("class",), ("precision", "recall", "f1", "support"))
    _require(sum(float(row["support"]) for row in rows) == metrics().get("n_test", 0), paths.PER_CLASS, paths.METRICS)
    return rows


def _require_numbers(values: dict[str, Any], path: Path) -> None:
    if bad := [key for key, value in values.items() if not isinstance(value, int | float)]:
        raise outputs.damaged(path, f"{bad[0]} is not a number")


def _require(condition: bool, path: Path, other: Path) -> None:
    if not condition:
        raise outputs.damaged(path, f"it does not list what {other} counts")
