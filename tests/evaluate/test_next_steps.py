"""The next steps of a report: each follows from what was measured, and those that concern most pictures come first."""

import numpy as np
import pytest

from darkroom.core.model_spec import BackboneSpec
from darkroom.evaluate.label_noise import LabelQuality
from darkroom.evaluate.next_steps import SHOWN, suggest
from darkroom.evaluate.predictions import Predictions
from darkroom.evaluate.slices import Slice
from tests.helpers.training import model_spec

CLASSES = ["cat", "dog", "owl"]
DENSE, SVM = {"type": "dense"}, {"type": "rbf_svm"}


def predictions(confusion, sure):
    """Predictions with this confusion matrix, all of them equally confident."""
    cells = [(label, guess, count) for label, row in enumerate(confusion) for guess, count in enumerate(row)]
    labels, guesses = (np.repeat([cell[side] for cell in cells], [cell[2] for cell in cells]) for side in (0, 1))
    given = np.where(np.eye(len(CLASSES))[guesses] == 1, sure, (1 - sure) / (len(CLASSES) - 1))
    return Predictions([f"{number}.png" for number in range(len(labels))], labels, given, given)


def steps(confusion, head=SVM, train=None, temperature=1.1, sure=0.9, issues=0, settings=None, slices=(), test=None):
    """The steps for a confusion matrix of validation."""
    val = predictions(confusion, sure)
    parts = {"train": predictions(train, sure) if train else val, "val": val, "test": predictions(test or GOOD, sure)}
    quality = [LabelQuality(f"{row}.png", "train", "cat", "dog", 0.1, 0.8, row < issues) for row in range(100)]
    backbone = BackboneSpec(backbone="VGG16", weights="imagenet", image_size=(32, 32), pooling="avg")
    model = {"backbone": backbone, "layers": ("block5_pool",), "features": 512}
    if "name" in head:
        model = {}
    return suggest(parts, model_spec(head, CLASSES, temperature=temperature, **model), settings or {}, quality, slices)


GOOD = [[196, 2, 2], [2, 196, 2], [2, 2, 196]]
WORSE = [[176, 12, 12], [12, 176, 12], [12, 12, 176]]
CALIBRATED = "dvc exp run -n calibrated -S train.calibration=temperature"
PERFECT = [[200, 0, 0], [0, 200, 0], [0, 0, 200]]


def test_with_nothing_else_a_search_is_suggested():
    assert [step.command for step in steps(GOOD, sure=0.98)] == ["make sweep NAME=better", "make advise"]


@pytest.mark.parametrize(
    ("confusion", "changes", "title", "command"),
    [
        (GOOD, {"issues": 7}, "Review 7 labels that look wrong", "make review"),
        (WORSE, {"head": DENSE, "train": PERFECT}, "overfit less", 'make sweep NAME=dense ARGS="--heads dense"'),
        (GOOD, {"sure": 0.6, "temperature": 1.0}, "Calibrate", CALIBRATED),
    ],
)
def test_a_measurement_leads_to_its_step(confusion, changes, title, command):
    first = steps(confusion, **{"sure": 0.98} | changes)[0]
    assert title in first.title
    assert first.command == command


@pytest.mark.parametrize(
    ("confusion", "changes"),
    [
        (WORSE, {"head": SVM, "train": PERFECT}),  # it always knows its training pictures by heart
        (GOOD, {"head": DENSE, "train": PERFECT}),  # a small difference
        (GOOD, {"sure": 0.6, "temperature": 1.2}),  # it is calibrated as well as it can be
        (GOOD, {"sure": 0.98, "temperature": 1.0}),
    ],
)
def test_what_is_no_reason_leads_to_none(confusion, changes):
    titles = " ".join(step.title for step in steps(confusion, **{"sure": 0.98} | changes))
    assert "overfit" not in titles
    assert "Calibrate" not in titles


def test_the_classes_that_are_confused_most_are_named():
    (first, *_) = steps([[180, 12, 8], [15, 180, 5], [1, 1, 198]])
    assert first.title == "Add training pictures of cat and dog"
    assert "27 of the 42 mistakes" in first.reason
    assert "12 cat were taken for dog, 15 the other way round" in first.reason


def test_a_model_that_only_guesses_is_told_first():
    (first, *_) = steps([[80, 10, 10], [85, 5, 10], [90, 5, 5]], issues=3)
    assert first.title == "Find out why the model is no better than guessing"
    assert "Always answering cat would be right for 33.3% of the validation pictures" in first.reason


def test_a_class_with_few_test_pictures_needs_more():
    found = steps(GOOD, test=[[196, 2, 2], [2, 196, 2], [1, 1, 4]])
    (step,) = [step for step in found if "Test owl" in step.title]
    assert "4 of its 6 test pictures are right, so its recall may be anything from 30% to 90%" in step.reason
    assert "split.ratio" in step.reason


def test_a_slice_is_named():
    slices = [Slice("size", "28 to 40", 100, 50, 0.4, 0.6, 0.95), Slice("group", "a", 20, 10, 0.3, 0.7, 0.9)]
    (first, *_) = steps(GOOD, sure=0.98, slices=slices)
    assert first.title == "Add training pictures of size 28 to 40"
    assert "the accuracy is 50.0%, elsewhere 95.0%" in first.reason


def test_the_most_pressing_come_first_and_no_more_than_three():
    found = steps([[150, 45, 5], [50, 148, 2], [1, 1, 198]], head=DENSE, train=PERFECT, issues=6)
    assert [step.command.split()[:2] for step in found] == [["dvc", "repro"], ["make", "sweep"], ["make", "review"]]
    assert len(found) == SHOWN
    assert [step.share for step in found] == sorted((step.share for step in found), reverse=True)


def test_a_network_from_scratch_is_not_sent_to_features_that_it_does_not_have():
    network = {"name": "mini_vggnet", "image_size": [32, 32]}
    assert [step.command for step in steps(GOOD, head=network, sure=0.98)] == ["make recipe"]
    (first, *_) = steps([[80, 10, 10], [85, 5, 10], [90, 5, 5]], head=network)
    assert (first.title[:12], first.command) == ("Find out why", "make recipe")
    online = "dvc exp run -n online -S train.scratch.online.preset=trivial_augment"
    assert steps(WORSE, head=network, train=PERFECT)[0].command == online
    for changes in ({"online": {"preset": "none", "crop": 0.3}}, {"mixup": 0.2}, {"online": {"preset": "tutorial"}}):
        found = steps(WORSE, head=network, train=PERFECT, settings={"scratch": changes})
        assert online not in [step.command for step in found]
