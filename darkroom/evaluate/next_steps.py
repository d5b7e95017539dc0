"""What to do next, derived from an evaluation: the steps that concern most pictures, each with its command."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from darkroom.core.model_spec import ModelSpec
from darkroom.evaluate.predictions import Predictions
from darkroom.evaluate.slices import Slice
from darkroom.evaluate.statistics import wilson

if TYPE_CHECKING:
    from darkroom.evaluate.label_noise import LabelQuality

SHOWN = 3
PAIR = 5  # mistakes between two classes, from which on they are no chance
OVERFITTING = 0.05  # by which accuracy on train is higher than on test
MISCALIBRATED = 0.02  # least calibration error, at the lower end of its interval
VAGUE = 0.15  # half the width of an interval of a class's recall
CROSS_VALIDATION = (
    "for k in 1 2 3 4 5; do dvc exp run -n fold-$k -S split.method=kfold -S split.fold=$k; done"  # as in docs/data.md
)


class Step(NamedTuple):
    """Something to do, and why."""

    share: float  # of the test pictures, or of all, that it concerns: the order of the steps
    title: str
    reason: str
    command: str


def suggest(
    metrics: Mapping[str, Any],
    test: Predictions,
    spec: ModelSpec,
    settings: Mapping[str, Any],
    labels: "Sequence[LabelQuality]",
    slices: Sequence[Slice],
) -> list[Step]:
    """The most useful steps, the most useful first.

    Args:
        metrics: the content of metrics.json.
        test: predictions on the test split.
        spec: of the model.
        settings: of its training, as reports/train.json has them.
        labels: quality of the labels; none if it was not looked for.
        slices: of the test split, in which the model is worse.
    """
    found = [
        *_chance(metrics, test, spec.classes),
        *_labels(labels),
        *_pair(test, spec.classes),
        *_slice(slices, len(test.labels)),
        *_overfitting(metrics, spec, settings),
        *_calibration(metrics),
        *_vague(test, spec.classes),
    ]
    found.sort(key=lambda step: -step.share)
    return [*found, *_search(spec)][:SHOWN]


def _chance(metrics: Mapping[str, Any], test: Predictions, classes: Sequence[str]) -> Iterator[Step]:
    counts = np.bincount(test.labels, minlength=len(classes))
    largest, share = classes[int(counts.argmax())], float(counts.max() / counts.sum())
    if metrics["accuracy_low"] <= share < 1:
        yield Step(
            1.0,
            "Find out why the model is no better than guessing",
            f"To call every picture {largest} would be right for {share:.1%} of the test pictures, and the model's "
            f"interval begins at {metrics['accuracy_low']:.1%}. Other features, more pictures or better labels may "
            "help; this command recommends a training.",
            "make advise",
        )


def _labels(labels: "Sequence[LabelQuality]") -> Iterator[Step]:
    issues = [label for label in labels if label.issue]
    if issues:
        parts = ", ".join(
            f"{sum(label.split == part for label in issues):,} in {part}" for part in ("train", "val", "test")
        )
        yield Step(
            len(issues) / len(labels),
            f"Review {len(issues):,} labels that look wrong",
            f"They are {len(issues) / len(labels):.1%} of all pictures ({parts}). Wrong labels mislead the training, "
            "and those in test make the figures wrong.",
            "make review",
        )


def _pair(test: Predictions, classes: Sequence[str]) -> Iterator[Step]:
    """The two classes that are confused most."""
    confusion = np.zeros((len(classes), len(classes)), int)
    np.add.at(confusion, (test.labels, test.predicted), 1)
    np.fill_diagonal(confusion, 0)
    both = np.triu(confusion + confusion.T)
    if both.max() >= PAIR:
        first, second = (int(number) for number in np.unravel_index(both.argmax(), both.shape))
        yield Step(
            float(both.max() / len(test.labels)),
            f"Add pictures of {classes[first]} and {classes[second]}",
            f"{both.max():,} of the {confusion.sum():,} mistakes are between these two: {confusion[first, second]:,} "
            f"{classes[first]} were taken for {classes[second]}, {confusion[second, first]:,} the other way round. Add "
            "training pictures that show the difference; only they go through the network.",
            "dvc repro",
        )


def _slice(slices: Sequence[Slice], pictures: int) -> Iterator[Step]:
    for worst in slices[:1]:
        yield Step(
            worst.missing / pictures,
            f"Add pictures with {worst.kind} {worst.name}",
            f"On the {worst.pictures:,} test pictures of this kind the accuracy is {worst.accuracy:.1%}, elsewhere "
            f"{worst.elsewhere:.1%}. Look at them first: it may be one class.",
            "dvc repro",
        )


def _overfitting(metrics: Mapping[str, Any], spec: ModelSpec, settings: Mapping[str, Any]) -> Iterator[Step]:
    """Not for classical heads, which know their training pictures by heart and generalise nevertheless."""
    gap = metrics["accuracy_train"] - metrics["accuracy"]
    online = settings.get(spec.mode, {}).get("online", {"preset": "none"})
    changing = any(value not in (None, "none", False, 0) for value in online.values())
    command = {
        "head": 'make sweep NAME=better ARGS="--heads dense"',
        "fine_tune": "dvc exp run -n online -S train.fine_tune.online.preset=tutorial",
        "scratch": "dvc exp run -n online -S train.scratch.online.preset=trivial_augment",
    }[spec.mode]
    if gap > OVERFITTING and not changing and (spec.mode != "head" or spec.head["type"] == "dense"):
        yield Step(
            gap / 2,  # at best a part of it can be had
            "Make the model overfit less",
            f"Its accuracy is {metrics['accuracy_train']:.1%} on train, but {metrics['accuracy']:.1%} on test. "
            + (
                "A search tries dropout, size and rates."
                if spec.mode == "head"
                else "Change the pictures in each epoch."
            ),
            command,
        )


def _calibration(metrics: Mapping[str, Any]) -> Iterator[Step]:
    if metrics["temperature"] == 1 and metrics.get("ece_low", 0) >= MISCALIBRATED:
        yield Step(
            metrics["ece_low"],
            "Calibrate the probabilities",
            f"They are off by {metrics['ece']:.1%} on average; the model is trained without calibration.",
            "dvc exp run -n calibrated -S train.calibration=temperature",
        )


def _vague(test: Predictions, classes: Sequence[str]) -> Iterator[Step]:
    """The class whose recall is known least."""
    intervals = []
    for number in np.unique(test.labels):
        own = test.labels == number
        right = int((test.predicted[own] == number).sum())
        low, high = wilson(right, int(own.sum()))
        intervals.append((high - low, low, high, int(number), right, int(own.sum())))
    vague = [interval for interval in intervals if interval[0] / 2 > VAGUE]
    if vague:
        width, low, high, number, right, count = max(vague)
        others = f", and so it is with {len(vague) - 1:,} other classes" if len(vague) > 1 else ""
        yield Step(
            width / 2 * sum(interval[-1] for interval in vague) / len(test.labels),
            f"Measure {classes[number]} on more pictures",
            f"{right:,} of its {count:,} test pictures are right, so its recall may be anything from {low:.0%} to "
            f"{high:.0%}{others}. With folds, every picture is tested once.",
            CROSS_VALIDATION,
        )


def _search(spec: ModelSpec) -> Iterator[Step]:
    """What can always be tried."""
    if spec.mode == "head":
        reason = "Nothing else stands out. This tries other heads on the same features, and chooses on validation."
        yield Step(0.0, "Search for a better head", reason, "make sweep NAME=better")
    reason = "A recommendation by the number of pictures and by how well the features separate the classes."
    yield Step(0.0, "Ask for another way to train", reason, "make advise")
