"""The next steps of a report: each follows from what was measured, and those that concern most pictures come first."""

import numpy as np
import pytest

from darkroom.core.model_spec import BackboneSpec
from darkroom.evaluate.label_noise import LabelQuality
from darkroom.evaluate.next_steps import SHOWN, suggest
from darkroom.evaluate.predictions import Predictions
from darkroom.evaluate.slices import Slice
from stages.evaluate import measure
from tests.helpers.training import model_spec

CLASSES = ["cat", "dog", "owl"]
DENSE, SVM = {"type": "dense"}, {"type": "rbf_svm"}


def steps(confusion, head=SVM, train=0.0, temperature=1.1, sure=0.9, issues=0, settings=None, slices=()):
    """The steps for a confusion matrix of the test split; on train, a share `train` more is right."""
    pairs = [
        (label, guess) for label, row in enumerate(confusion) for guess, count in enumerate(row) for _ in range(count)
    ]
    labels, guesses = np.array(pairs).T
    rest = (1 - sure) / (len(CLASSES) - 1)
    given = np.where(np.eye(len(CLASSES))[guesses] == 1, sure, rest)
    test = Predictions([f"{number}.png" for number in range(len(labels))], labels, given, given)
    metrics = measure({"train": test, "val": test, "test": test}, temperature, 100, 1)
    metrics["accuracy_train"] = metrics["accuracy"] + train
    quality = [LabelQuality(f"{row}.png", "train", "cat", "dog", 0.1, 0.8, row < issues) for row in range(100)]
    backbone = BackboneSpec(backbone="VGG16", weights="imagenet", image_size=(32, 32), pooling="avg")
    model = {"backbone": backbone, "layers": ("block5_pool",), "features": 512}
    spec = model_spec(head, CLASSES, temperature=temperature, **model)
    return suggest(metrics, test, spec, settings or {}, quality, slices)


GOOD = [[196, 2, 2], [2, 196, 2], [2, 2, 196]]


def test_with_nothing_else_a_search_is_suggested():
    assert [step.command for step in steps(GOOD, sure=0.98)] == ["make sweep NAME=better", "make advise"]


@pytest.mark.parametrize(
    ("changes", "title", "command"),
    [
        ({"issues": 7}, "Review 7 labels that look wrong", "make review"),
        ({"head": DENSE, "train": 0.1}, "overfit less", 'make sweep NAME=better ARGS="--heads dense"'),
        ({"sure": 0.6, "temperature": 1.0}, "Calibrate", "dvc exp run -n calibrated -S train.calibration=temperature"),
    ],
)
def test_a_measurement_leads_to_its_step(changes, title, command):
    first = steps(GOOD, **{"sure": 0.98} | changes)[0]
    assert title in first.title
    assert first.command == command


@pytest.mark.parametrize(
    "changes",
    [
        {"head": SVM, "train": 0.1},  # it always knows its training pictures by heart
        {"head": DENSE, "train": 0.04},
        {"sure": 0.6, "temperature": 1.2},  # it is calibrated as well as it can be
    ],
)
def test_what_is_no_reason_leads_to_none(changes):
    assert steps(GOOD, **{"sure": 0.98} | changes)[0].command == "make sweep NAME=better"


def test_the_classes_that_are_confused_most_are_named():
    (first, *_) = steps([[180, 12, 8], [15, 180, 5], [1, 1, 198]])
    assert first.title == "Add pictures of cat and dog"
    assert "27 of the 42 mistakes" in first.reason
    assert "12 cat were taken for dog, 15 the other way round" in first.reason


def test_a_model_that_only_guesses_is_told_first():
    (first, *_) = steps([[80, 10, 10], [85, 5, 10], [90, 5, 5]], issues=3)
    assert first.title == "Find out why the model is no better than guessing"
    assert "To call every picture cat would be right for 33.3% of the test pictures" in first.reason


def test_a_class_with_few_test_pictures_is_measured_with_folds():
    found = steps([[196, 2, 2], [2, 196, 2], [1, 1, 4]])
    (step,) = [step for step in found if "Measure owl" in step.title]
    assert "4 of its 6 test pictures are right, so its recall may be anything from 30% to 90%" in step.reason
    assert "split.method=kfold" in step.command


def test_a_slice_is_named():
    slices = [Slice("size", "28 to 40", 100, 50, 0.4, 0.6, 0.95), Slice("group", "a", 20, 10, 0.3, 0.7, 0.9)]
    (first, *_) = steps(GOOD, sure=0.98, slices=slices)
    assert first.title == "Add pictures with size 28 to 40"
    assert "the accuracy is 50.0%, elsewhere 95.0%" in first.reason


def test_the_most_pressing_come_first_and_no_more_than_three():
    found = steps([[150, 45, 5], [50, 148, 2], [1, 1, 4]], head=DENSE, train=0.12, issues=6)
    assert [step.command.split()[:2] for step in found] == [["dvc", "repro"], ["make", "review"], ["make", "sweep"]]
    assert len(found) == SHOWN
    assert [step.share for step in found] == sorted((step.share for step in found), reverse=True)
