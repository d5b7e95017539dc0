"""Whether an export agrees with Keras: pictures of any size through the files that ship, against what was evaluated.

Most of the work is in the backbone, which is the same for every head. So of a format that can be loaded in two halves
only a few pictures go through the whole. For the others the head in the file runs on the features that the backbone in
the file computes; they are cached for files with the same backbone, byte for byte.
"""

import gc
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.errors import UserError
from darkroom.core.hashing import sha256
from darkroom.core.terminal import progress
from darkroom.export import cache
from darkroom.images.decode import decode
from darkroom.inference import formats
from darkroom.inference.formats.base import EXACT, FORMATS, Exported, Gate, Halves
from darkroom.models import heads
from darkroom.models.classifier import Classifier
from darkroom.models.inputs import Held

TOLERANCE = 1e-4  # of a probability: the same float32 arithmetic in another order
VOTES = Gate(near=0.9, same_label=0.95)
WHOLE = 5  # pictures that go through a file as a whole even if it can be loaded in halves


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
    files: Mapping[str, Path], expected: np.ndarray, rows: Sequence[Mapping[str, str]], head: str
) -> dict[str, Comparison]:
    """Compare every format with Keras on the same pictures, each at its own size.

    Args:
        files: the exports by format.
        expected: Keras' probabilities (pictures, classes); see `evaluated`.
        rows: of reports/predictions.csv, from which come the true labels and those that were evaluated.
        head: its type.

    Raises:
        UserError: a format fails its gate.
    """
    result = {}
    for name, path in files.items():
        model, load_halves = formats.load(path, trust=True), FORMATS[name].halves
        given, milliseconds = as_whole(model, rows[:WHOLE] if load_halves else rows, name)
        if load_halves:
            given = np.concatenate([given, in_halves(load_halves(path), rows, name)[WHOLE:]])
        limits = gate(name, head)
        result[name] = Comparison(
            report(name, given, expected, rows, model.classes, limits),
            float(np.abs(given - expected).max()),
            milliseconds,
        )
        del model, load_halves
        gc.collect()  # as in conversion.py
    return result


def as_whole(model: Exported, rows: Sequence[Mapping[str, str]], name: str) -> tuple[np.ndarray, float]:
    """Run pictures through a loaded format one by one; its probabilities, and the median time in milliseconds."""
    given, seconds = [], []
    for row in progress(rows, len(rows), f"comparing {name}"):
        pixels = decode(Path(row["path"]))[None]
        started = time.perf_counter()
        given.append(model.probabilities(pixels)[0])
        seconds.append(time.perf_counter() - started)
    return np.stack(given), 1000 * float(np.median(seconds))


def in_halves(halves: Halves, rows: Sequence[Mapping[str, str]], name: str) -> np.ndarray:
    """The probabilities of pictures by the head in a file, from features by its backbone."""
    paths = [Path(row["path"]) for row in rows]

    def features() -> np.ndarray:
        each = progress(paths, len(paths), f"comparing {name}")
        return np.concatenate([halves.features(decode(path)[None]) for path in each])

    return halves.probabilities(cache.recall([name, halves.backbone_sha256, *map(sha256, paths)], features))


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
