"""Metrics against values worked out by hand, and against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from sklearn import metrics as sklearn_metrics

from darkroom.evaluate import curves, metrics
from tests.helpers.evaluation import evaluations, made_up

CLASSES = ["a", "b", "c"]
# Ten pictures: true class, and the probabilities that were given to them.
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
GIVEN = np.array(
    [
        *([0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]),
        *([0.2, 0.6, 0.2], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4], [0.2, 0.2, 0.6]),
    ]
)


def test_metrics_are_those_worked_out_by_hand():
    values, scores = metrics.point_estimates(LABELS, GIVEN), metrics.per_class(LABELS, GIVEN, CLASSES)
    assert values["accuracy"] == 0.8
    assert "top_3_accuracy" not in values  # of three classes
    assert scores[0] == ("a", 3 / 4, 3 / 4, 3 / 4, 4)
    assert scores[1] == ("b", pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3), 3)
    assert scores[2] == ("c", 1, 1, 1, 3)
    assert values["balanced_accuracy"] == pytest.approx((3 / 4 + 2 / 3 + 1) / 3)
    assert values["weighted_f1"] == pytest.approx((4 * 3 / 4 + 3 * 2 / 3 + 3 * 1) / 10)
    right = [0.8, 0.6, 0.5, 0.2, 0.8, 0.6, 0.05, 0.8, 0.4, 0.6]
    assert values["log_loss"] == pytest.approx(-np.mean(np.log(right)))
    # Pairs of a picture of the class and one of the rest, in which the first is given more; equal ones are halves.
    assert values["roc_auc"] == pytest.approx((18 / 24 + 13 / 21 + 21 / 21) / 3)


def test_calibration_error_by_hand():
    # Confidences 0.9, 0.9 (one right) and 0.6 (right): two bins, gaps 0.4 and 0.4.
    given = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    labels = np.array([0, 1, 1])
    assert metrics.calibration(labels, given)["ece"] == pytest.approx(0.4)
    assert metrics.reliability(labels, given) == [
        (8, pytest.approx(0.6), 1.0, 1),
        (13, pytest.approx(0.9), 0.5, 2),
    ]
    assert metrics.confidence_bins(np.array([[1.0, 0.0], [0.5, 0.5], [1 / 15, 14 / 15]])).tolist() == [14, 7, 13]


@settings(max_examples=30, deadline=None)
@given(evaluations())
def test_metrics_are_those_of_scikit_learn(evaluation):
    labels, given, _ = evaluation
    values, numbers = metrics.point_estimates(labels, given), np.arange(given.shape[1])
    assert values["log_loss"] == pytest.approx(sklearn_metrics.log_loss(labels, given, labels=numbers))
    brier = sklearn_metrics.brier_score_loss(labels, given, labels=numbers, scale_by_half=False)
    assert values["brier"] == pytest.approx(brier)
    assert 0 <= values["accuracy"] <= values.get("top_3_accuracy", 1) <= 1
    assert 0 <= values["ece"] <= 1
    assert ("roc_auc" in values) == ("average_precision" in values) == (len(set(labels)) > 1)
    assert ("top_3_accuracy" in values) == (given.shape[1] > 3)
    for number in set(labels) if len(set(labels)) > 1 else ():
        both = [curve(labels, given, numbers) for curve in (curves.roc, curves.precision_recall)]
        roc, recall = ({curve.name: curve for curve in of_kind}[number] for of_kind in both)
        assert np.trapezoid(roc.y, roc.x) == pytest.approx(roc.area)
        assert np.sum(np.diff(recall.x) * recall.y[1:]) == pytest.approx(recall.area)


def test_top_k_is_that_of_scikit_learn():
    labels, given = made_up(500, 8)
    values = metrics.point_estimates(labels, given)
    for k in (3, 5):
        assert values[f"top_{k}_accuracy"] == pytest.approx(sklearn_metrics.top_k_accuracy_score(labels, given, k=k))


def test_chance_makes_a_calibrated_model_look_a_little_wrong():
    _, given = made_up(300, 4)
    generator = np.random.default_rng(0)
    errors = []
    for _ in range(300):
        labels = (given.cumsum(axis=1) < generator.random((300, 1))).sum(axis=1)  # as often as the model says
        errors.append(metrics.calibration(np.minimum(labels, 3), given)["ece"])
    assert metrics.chance_calibration_error(given) == pytest.approx(np.mean(errors), rel=0.05)


def test_a_class_that_is_never_predicted_counts():
    labels, given = np.array([0, 1]), np.array([[0.9, 0.1], [0.9, 0.1]])
    assert metrics.per_class(labels, given, ["a", "b"])[1] == ("b", 0, 0, 0, 1)
    assert metrics.point_estimates(labels, given)["balanced_accuracy"] == 0.5


def test_a_class_without_test_pictures_does_not_count():
    labels, given = np.array([0, 1, 1]), np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.1, 0.3, 0.6]])
    values = metrics.point_estimates(labels, given)
    assert values["balanced_accuracy"] == pytest.approx((1 + 1 / 2) / 2)
    assert values["roc_auc"] == 1
    assert metrics.per_class(labels, given, CLASSES)[2] == ("c", 0, 0, 0, 0)
    assert [curve.name for curve in curves.roc(labels, given, CLASSES)] == ["a", "b", curves.MEAN]
