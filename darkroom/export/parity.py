"""Whether an export agrees with Keras: pictures of any size through the files that ship, against what was evaluated."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.errors import UserError
from darkroom.core.terminal import progress
from darkroom.images.decode import decode
from darkroom.inference.formats.base import EXACT, FORMATS, Exported, Gate
from darkroom.models import heads
from darkroom.models.classifier import Classifier
from darkroom.models.inputs import Held

TOLERANCE = 1e-4  # of a probability: the same float32 arithmetic in another order
VOTES = Gate(near=0.9, same_label=0.95)


@dataclass(frozen=True)
class Comparison:
    """How one format compares with Keras.

    Attributes:
        report: for reports/export.json.
        difference: the largest difference of a probability; it depends on the machine.
        milliseconds: the median time for a picture.
    """

    report: dict[str, Any]
    difference: float
    milliseconds: float


def gate(name: str, head: str) -> Gate:
    """How closely a format of a model with this head must agree with Keras.

    Rounding can send a picture down another branch of a tree, or change which neighbour is the k-th: then a whole vote
    moves. (With ResNet50 and a forest of 300 trees, one tree decided differently in LiteRT for one photograph in 100.)
    """
    own = FORMATS[name].gate
    return own.loosened(VOTES) if heads.counts_votes(head) else own


def evaluated(model: Classifier, rows: Sequence[Mapping[str, str]]) -> np.ndarray:
    """The probabilities (pictures, classes) that `evaluate` measures: Keras', from the features on disk, in batches.

    Args:
        model: in Keras.
        rows: of reports/predictions.csv.
    """
    from scipy.special import softmax

    inputs = model.inputs("test")
    positions = {path: position for position, path in enumerate(inputs.paths)}
    chosen = np.array([positions[row["path"]] for row in rows])
    logits = model.logits(Held(inputs.rows(chosen), inputs, chosen))
    return np.asarray(softmax(logits / np.float32(model.spec.temperature), axis=1))


def compare(
    exported: Mapping[str, Exported], expected: np.ndarray, rows: Sequence[Mapping[str, str]], head: str
) -> dict[str, Comparison]:
    """Compare every format with Keras on the same pictures, each at its own size.

    Args:
        exported: loaded formats by name.
        expected: Keras' probabilities (pictures, classes); see `evaluated`.
        rows: of reports/predictions.csv, from which come the true labels and those that were evaluated.
        head: its type.

    Raises:
        UserError: a format fails its gate.
    """
    given: dict[str, list[np.ndarray]] = {name: [] for name in exported}
    seconds: dict[str, list[float]] = {name: [] for name in exported}
    for row in progress(rows, len(rows), "comparing"):
        pixels = decode(Path(row["path"]))[None]
        for name, model in exported.items():
            started = time.perf_counter()
            given[name].append(model.probabilities(pixels)[0])
            seconds[name].append(time.perf_counter() - started)
    return {
        name: Comparison(
            report(name, np.stack(given[name]), expected, rows, model.classes, gate(name, head)),
            float(np.abs(np.stack(given[name]) - expected).max()),
            1000 * float(np.median(seconds[name])),
        )
        for name, model in exported.items()
    }


def report(
    name: str,
    given: np.ndarray,
    expected: np.ndarray,
    rows: Sequence[Mapping[str, str]],
    classes: list[str],
    limits: Gate,
) -> dict[str, Any]:
    """Compare a format's probabilities (pictures, classes) with Keras'.

    Raises:
        UserError: the difference is beyond the limits.
    """
    labels, pictures = given.argmax(axis=1), np.arange(len(given))
    as_probable = expected[pictures, labels] >= expected.max(axis=1) - 2 * TOLERANCE
    differences = np.abs(given - expected).max(axis=1)
    same_label, near = float(as_probable.mean()), float((differences <= TOLERANCE).mean())
    largest = float(differences.max())
    if not (same_label >= limits.same_label and near >= limits.near):
        raise UserError(
            f"{FORMATS[name].file} disagrees with Keras on {len(given)} test pictures ({same_label:.1%} of the labels "
            f"are the same, probabilities differ by up to {largest:.1e}): nothing was exported; remove {name} from "
            "export.formats."
        )
    named = np.array(classes)
    truth = np.array([row["label"] for row in rows])
    evaluated = np.array([row["predicted"] for row in rows])
    return {
        "pictures": len(given),
        "same_label": same_label,
        # An upper bound, since differences below the tolerance vary from machine to machine.
        "within": TOLERANCE if limits == EXACT else math.ceil(1000 * largest) / 1000,
        "same_as_evaluated": float(np.mean(named[labels] == evaluated)),
        "accuracy": float(np.mean(named[labels] == truth)),
        "keras_accuracy": float(np.mean(named[expected.argmax(axis=1)] == truth)),
    }
