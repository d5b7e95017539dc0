"""Figures by the labels that people decided on, and by those of the source."""

import numpy as np
import pytest

from darkroom.core import paths
from darkroom.core.files import write_csv
from darkroom.evaluate import corrections
from darkroom.evaluate.predictions import Predictions
from darkroom.evaluate.statistics import wilson
from tests.helpers.evaluation import evaluated


def table(*rows):
    write_csv(paths.GROUPS, ("picture", "decision", "source"), rows)


@pytest.fixture
def test_split():
    """Four pictures of cats and dogs, of which the model gets three right by the labels that people decided on."""
    names = ["cat/0.png", "cat/1.png", "dog/2.png", "dog/3__cat.png"]
    given = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7]])
    return Predictions([f"data/split/test/{name}" for name in names], np.array([0, 0, 1, 1]), given, given)


def test_without_decisions_there_is_one_figure(workspace, test_split):
    table(*((f"train/{path.split('/', 3)[3]}", "", "") for path in test_split.paths))
    assert corrections.by_source_labels(test_split, ["cat", "dog"]) == {}


def test_the_labels_of_the_source_give_another(workspace, test_split):
    table(
        ("train/cat/0.png", "confirm", ""),
        ("train/dog/3__cat.png", "relabel", "train/cat/3.png"),
        ("train/dog/9__cat.png", "relabel", "train/cat/9.png"),  # in another split
        ("train/cat/5.png", "drop", ""),
    )
    low, high = wilson(2, 4)
    assert corrections.by_source_labels(test_split, ["cat", "dog"]) == {
        "accuracy_source_labels": 0.5,
        "accuracy_source_labels_low": pytest.approx(low),
        "accuracy_source_labels_high": pytest.approx(high),
        "n_test_relabelled": 1,
    }
    assert corrections.read("test").dropped == {"data/split/test/cat/5.png"}


def test_nobody_is_right_about_a_class_that_is_lost(workspace, test_split):
    table(("train/cat/0.png", "relabel", "train/kitten/0.png"))
    figures = corrections.by_source_labels(test_split, ["cat", "dog"])
    assert figures["accuracy_source_labels"] == 0.5


def test_the_report_has_both(workspace, pictures):
    """Of twelve pictures, the first has another label than in the source; the model is right about all twelve."""
    labels = np.arange(12) % 3
    _, metrics, page = evaluated(pictures[:12], 3, labels, np.eye(3)[labels])
    assert "accuracy_source_labels" not in metrics
    assert "People changed the labels" not in page
    table(("train/c/0.png", "relabel", "train/<b>coat</b> & 'co' \"x\"/0.png"))
    _, metrics, page = evaluated(pictures[:12], 3, labels, np.eye(3)[labels])
    assert (metrics["accuracy"], metrics["n_test_relabelled"]) == (1, 1)
    assert metrics["accuracy_source_labels"] == pytest.approx(11 / 12)
    assert "People changed the labels of 1 test pictures" in page
    assert "the accuracy is 0.9167" in page
