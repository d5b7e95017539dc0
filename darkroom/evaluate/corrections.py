"""What people's decisions changed in a split: a model is measured by the labels that they decided on."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from darkroom.core.files import read_csv
from darkroom.core.metric_table import HIGH, LOW
from darkroom.core.paths import GROUPS, SPLIT
from darkroom.evaluate.predictions import Predictions
from darkroom.evaluate.statistics import wilson

SOURCE_LABELS = "accuracy_source_labels"  # a key of metrics.json: the accuracy by the labels of the source
RELABELLED = "n_test_relabelled"


class Corrections(NamedTuple):
    """Pictures of a split by their paths, in the set as it is now."""

    relabelled: Mapping[str, str]  # to their paths by the label of the source
    dropped: frozenset[str]


def read(part: str) -> Corrections:
    """What would be changed in a split: the table does not say in which split a picture is."""
    relabelled, dropped = {}, set()
    for row in read_csv(GROUPS, ("picture", "decision", "source")):
        if row["decision"] == "drop":
            dropped.add(_path(part, row["picture"]))
        elif row["source"]:
            relabelled[_path(part, row["picture"])] = _path(part, row["source"])
    return Corrections(relabelled, frozenset(dropped))


def _path(part: str, name: str) -> str:
    return f"{SPLIT.as_posix()}/{part}/{name.partition('/')[2]}"


def by_source_labels(test: Predictions, classes: Sequence[str]) -> dict[str, Any]:
    """The accuracy by the labels of the source, with its interval; empty if no label of a test picture was changed."""
    relabelled = read("test").relabelled
    labels = test.labels.copy()
    rows = [row for row, path in enumerate(test.paths) if path in relabelled]
    for row in rows:
        label = relabelled[test.paths[row]].split("/")[-2]
        labels[row] = classes.index(label) if label in classes else -1  # no model can be right about a lost class
    if not rows:
        return {}
    right = int(np.sum(test.predicted == labels))
    low, high = wilson(right, len(labels))
    figures = {SOURCE_LABELS: right / len(labels), SOURCE_LABELS + LOW: low, SOURCE_LABELS + HIGH: high}
    return {key: round(value, 8) for key, value in figures.items()} | {RELABELLED: len(rows)}
