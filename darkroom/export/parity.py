"""Whether an exported model says what Keras says: the same pictures, of any size, through both."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from darkroom.core.errors import UserError
from darkroom.core.terminal import progress
from darkroom.images.decode import decode
from darkroom.inference.formats import FILES, Exported


class Gate(NamedTuple):
    """What a format must keep to, as shares of the pictures."""

    near: float  # whose probabilities all are Keras' to within TOLERANCE
    same_label: float  # two labels that Keras finds equally probable, to within that, are the same


TOLERANCE = 1e-4  # the same float32 arithmetic in another order
EXACT = Gate(near=1.0, same_label=1.0)
STEPS = Gate(near=0.9, same_label=0.95)
INT8 = Gate(near=0.0, same_label=0.9)  # weights rounded to 8 bits lose something: it is said what


def gate(kind: str, head: str) -> Gate:
    """What a format of a model with this head must keep to.

    Rounding can send a picture down another branch of a tree, or change which neighbour is the k-th: then a vote moves
    as a whole. (With ResNet50 and a forest of 300, a tree went elsewhere in LiteRT for one photograph in a hundred.)
    """
    if kind == "litert_int8":
        return INT8
    return STEPS if head in ("knn", "tree", "forest") else EXACT


def compare(
    exported: Mapping[str, Exported], whole: Callable[[np.ndarray], Any], rows: Sequence[Mapping[str, str]], head: str
) -> tuple[dict[str, dict[str, Any]], dict[str, float], dict[str, float]]:
    """What every format and Keras say of the same pictures, each as it is.

    Args:
        exported: loaded formats.
        whole: the Keras model.
        rows: of reports/predictions.csv. The evaluation may have used features of reduced precision, the export is
            float32: hence `same_as_evaluated`, a share, is reported and not gated.
        head: its kind.

    Returns:
        For each format its report, the largest difference of a probability from Keras', which depends on the machine,
        and the milliseconds that it took for a picture (the median).

    Raises:
        UserError: a format is not within its gate.
    """
    said: dict[str, list[np.ndarray]] = {kind: [] for kind in ("", *exported)}
    seconds: dict[str, list[float]] = {kind: [] for kind in exported}
    for row in progress(rows, len(rows), "comparing"):
        pixels = decode(Path(row["path"]))[None]
        said[""].append(np.asarray(whole(pixels))[0])
        for kind, model in exported.items():
            began = time.perf_counter()
            said[kind].append(model.probabilities(pixels)[0])
            seconds[kind].append(time.perf_counter() - began)
    expected = np.stack(said.pop(""))
    reports = {
        kind: report(kind, np.stack(given), expected, rows, exported[kind].classes, gate(kind, head))
        for kind, given in said.items()
    }
    differences = {kind: float(np.abs(np.stack(given) - expected).max()) for kind, given in said.items()}
    return reports, differences, {kind: 1000 * float(np.median(times)) for kind, times in seconds.items()}


def report(
    kind: str,
    given: np.ndarray,
    expected: np.ndarray,
    rows: Sequence[Mapping[str, str]],
    classes: list[str],
    wanted: Gate,
) -> dict[str, Any]:
    """How far a format's probabilities (pictures, classes) are from Keras', and whether that is near enough."""
    labels, pictures = given.argmax(axis=1), np.arange(len(given))
    as_probable = expected[pictures, labels] >= expected.max(axis=1) - 2 * TOLERANCE
    differences = np.abs(given - expected).max(axis=1)
    same_label, near = float(as_probable.mean()), float((differences <= TOLERANCE).mean())
    largest = float(differences.max())
    if not (same_label >= wanted.same_label and near >= wanted.near):
        raise UserError(
            f"{FILES[kind]} does not say what Keras says of {len(given)} test pictures ({same_label:.1%} of the labels "
            f"are the same, a probability differs by up to {largest:.1e}): nothing is exported; take {kind} out of "
            "export.formats."
        )
    right = {
        name: np.mean([classes[said] == row["label"] for said, row in zip(numbers, rows, strict=True)])
        for name, numbers in (("accuracy", labels), ("keras_accuracy", expected.argmax(axis=1)))
    }
    same = [classes[said] == row["predicted"] for said, row in zip(labels, rows, strict=True)]
    return {
        "pictures": len(given),
        "same_label": same_label,
        # An upper bound: what is below the tolerance is another figure on every machine.
        "within": TOLERANCE if wanted == EXACT else math.ceil(1000 * largest) / 1000,
        "same_as_evaluated": float(np.mean(same)),
        **{name: float(share) for name, share in right.items()},
    }
