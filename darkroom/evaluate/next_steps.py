"""What to do next, derived from an evaluation: the steps that concern most pictures, each with its command.

Whatever leads to another training is measured on validation: the test split decides nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from darkroom.core.model_spec import ModelSpec
from darkroom.evaluate.metrics import calibration, chance_calibration_error
from darkroom.evaluate.predictions import Predictions
from darkroom.evaluate.slices import Slice
from darkroom.evaluate.statistics import wilson
from darkroom.images.folders import PARTS

if TYPE_CHECKING:
    from darkroom.evaluate.label_noise import LabelQuality

SHOWN = 3
PAIR = 5  # mistakes between two classes, from which on they are no chance
OVERFITTING = 0.05  # by which accuracy on train is higher than on val
MISCALIBRATED = 0.02  # least calibration error, beyond what chance explains
VAGUE = 0.15  # half the width of an interval of a class's recall


class Step(NamedTuple):
    """Something to do, and why."""

    share: float  # of the pictures that it concerns: the order of the steps
    title: str
    reason: str
    command: str


def suggest(
    predictions: Mapping[str, Predictions],
    spec: ModelSpec,
    settings: Mapping[str, Any],
    labels: "Sequence[LabelQuality]",
    slices: Sequence[Slice],
) -> list[Step]:
    """The most useful steps, the most useful first.

    Args:
        predictions: on train, val and test.
        spec: of the model.
        settings: of its training, as reports/train.json has them.
        labels: quality of the labels; none if it was not looked for.
        slices: of val, in which the model is worse.
    """
    val = predictions["val"]
    found = [
        *_chance(val, spec),
        *_labels(labels),
        *_pair(val, spec.classes),
        *_slice(slices, len(val.labels)),
        *_overfitting(predictions["train"], val, spec, settings),
        *_calibration(val, spec),
        *_vague(predictions["test"], spec.classes),
    ]
    found.sort(key=lambda step: -step.share)
    return [*found, *_others(spec)][:SHOWN]


def _chance(val: Predictions, spec: ModelSpec) -> Iterator[Step]:
    counts = np.bincount(val.labels, minlength=len(spec.classes))
    largest, share = spec.classes[int(counts.argmax())], float(counts.max() / counts.sum())
    low, _ = wilson(int((val.predicted == val.labels).sum()), len(val.labels))
    if low <= share < 1:
        yield Step(
            1.0,
            "Find out why the model is no better than guessing",
            f"Always answering {largest} would be right for {share:.1%} of the validation pictures, and the model's "
            f"interval begins at {low:.1%}. Other settings, more pictures or better labels may help.",
            _others(spec)[-1].command,
        )


def _labels(labels: "Sequence[LabelQuality]") -> Iterator[Step]:
    issues = [label for label in labels if label.issue]
    if issues:
        counts = ", ".join(f"{sum(label.split == part for label in issues):,} in {part}" for part in PARTS)
        yield Step(
            len(issues) / len(labels),
            f"Review {len(issues):,} labels that look wrong",
            f"They are {len(issues) / len(labels):.1%} of the {len(labels):,} that were assessed ({counts}). Wrong "
            "labels mislead the training, and those in test make the figures wrong.",
            "make review",
        )


def _pair(val: Predictions, classes: Sequence[str]) -> Iterator[Step]:
    """The two classes that are confused most."""
    confusion = np.zeros((len(classes), len(classes)), int)
    np.add.at(confusion, (val.labels, val.predicted), 1)
    np.fill_diagonal(confusion, 0)
    both = np.triu(confusion + confusion.T)
    if both.max() >= PAIR:
        first, second = (int(number) for number in np.unravel_index(both.argmax(), both.shape))
        yield Step(
            float(both.max() / len(val.labels)),
            f"Add training pictures of {classes[first]} and {classes[second]}",
            f"{both.max():,} of the {confusion.sum():,} mistakes on validation are between these two: "
            f"{confusion[first, second]:,} {classes[first]} were taken for {classes[second]}, "
            f"{confusion[second, first]:,} the other way round. Add pictures that show the difference.",
            "dvc repro",
        )


def _slice(slices: Sequence[Slice], pictures: int) -> Iterator[Step]:
    for worst in slices[:1]:
        yield Step(
            worst.missing / pictures,
            f"Add training pictures of {worst.kind} {worst.name}",
            f"On the {worst.pictures:,} validation pictures of this kind the accuracy is {worst.accuracy:.1%}, "
            f"elsewhere {worst.elsewhere:.1%}. Look at them first: it may be one class.",
            "dvc repro",
        )


def _overfitting(train: Predictions, val: Predictions, spec: ModelSpec, settings: Mapping[str, Any]) -> Iterator[Step]:
    """Not for classical heads, which know their training pictures by heart and generalise nevertheless."""
    seen, unseen = (float((each.predicted == each.labels).mean()) for each in (train, val))
    changes = settings.get(spec.mode, {})
    online = [*changes.get("online", {}).values(), changes.get("mixup"), changes.get("cutmix")]
    changing = any(value not in (None, "none", False, 0) for value in online)
    command = {
        "head": 'make sweep NAME=dense ARGS="--heads dense"',
        "fine_tune": "dvc exp run -n online -S train.fine_tune.online.preset=tutorial",
        "scratch": "dvc exp run -n online -S train.scratch.online.preset=trivial_augment",
    }[spec.mode]
    if seen - unseen > OVERFITTING and not changing and (spec.mode != "head" or spec.head_type == "dense"):
        yield Step(
            (seen - unseen) / 2,  # at best a part of it can be had
            "Make the model overfit less",
            f"Its accuracy is {seen:.1%} on train, but {unseen:.1%} on validation. "
            + (
                "A search tries dropout, size and rates."
                if spec.mode == "head"
                else "Change the pictures in each epoch."
            ),
            command,
        )


def _calibration(val: Predictions, spec: ModelSpec) -> Iterator[Step]:
    error = calibration(val.labels, val.probabilities)["ece"]
    if spec.temperature == 1 and error - chance_calibration_error(val.probabilities) >= MISCALIBRATED:
        yield Step(
            error,
            "Calibrate the probabilities",
            f"On validation they are off by {error:.1%} on average; the model was trained without calibration.",
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
        others = f" {len(vague) - 1:,} more classes have as few." if len(vague) > 1 else ""
        yield Step(
            width / 2 * sum(interval[-1] for interval in vague) / len(test.labels),
            f"Test {classes[number]} on more pictures",
            f"{right:,} of its {count:,} test pictures are right, so its recall may be anything from {low:.0%} to "
            f"{high:.0%}.{others} Add pictures, or give test a larger share in split.ratio.",
            "dvc repro",
        )


def _others(spec: ModelSpec) -> list[Step]:
    """What can always be tried."""
    if spec.mode == "scratch":  # there are no features
        reason = "Trainings that are known to be good, among them those on the features of a pretrained network."
        return [Step(0.0, "Try another way to train", reason, "make recipe")]
    reason = "A recommendation by the number of pictures and by how well the features separate the classes."
    advice = Step(0.0, "Ask for another way to train", reason, "make advise")
    if spec.mode == "fine_tune":
        return [advice]
    reason = "This tries other heads on the same features, and chooses on validation."
    return [Step(0.0, "Search for a better head", reason, "make sweep NAME=better"), advice]
