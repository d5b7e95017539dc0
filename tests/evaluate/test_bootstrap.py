"""Resamples are what scikit-learn makes of weighted pictures, and intervals contain the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sklearn_metrics

from darkroom.core.metric_table import BY_KEY, METRICS
from darkroom.evaluate import bootstrap, metrics
from darkroom.evaluate.statistics import wilson
from tests.helpers.evaluation import evaluations, made_up

BOOTSTRAPPED = {metric.key for metric in METRICS if metric.interval == "bootstrap"}


@settings(max_examples=30, deadline=None)
@given(evaluations())
def test_a_resample_is_what_scikit_learn_makes_of_weights(evaluation):
    labels, given, weights = evaluation
    values = {key: value[0] for key, value in bootstrap.weighted_metrics(weights[None], labels, given).items()}
    drawn, numbers = np.repeat(np.arange(len(labels)), weights), range(given.shape[1])
    present, options = np.unique(labels[drawn]), {"sample_weight": weights}
    for kind in ("macro", "weighted"):
        precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(
            labels, given.argmax(axis=1), labels=present, average=kind, zero_division=0, **options
        )
        assert values[f"{kind}_precision"] == pytest.approx(precision)
        assert values[f"{kind}_f1"] == pytest.approx(f1)
        if kind == "macro":
            assert values["balanced_accuracy"] == pytest.approx(recall)
    assert values["log_loss"] == pytest.approx(sklearn_metrics.log_loss(labels, given, labels=numbers, **options))
    assert values["ece"] == pytest.approx(metrics.calibration(labels[drawn], given[drawn])["ece"])
    brier = sklearn_metrics.brier_score_loss(labels[drawn], given[drawn], labels=numbers, scale_by_half=False)
    assert values["brier"] == pytest.approx(brier)
    for key, score in (
        ("roc_auc", sklearn_metrics.roc_auc_score),
        ("average_precision", sklearn_metrics.average_precision_score),
    ):
        if len(present) > 1:
            expected = [score(labels[drawn] == number, given[drawn, number]) for number in present]
            assert values[key] == pytest.approx(np.mean(expected))
        else:
            assert np.isnan(values[key])


@settings(max_examples=40, deadline=None)
@given(evaluations(), st.integers(0, 99))
def test_an_interval_contains_its_metric(evaluation, seed):
    labels, given, _ = evaluation
    values = metrics.point_estimates(labels, given)
    intervals = bootstrap.intervals(labels, given, 200, np.random.default_rng(seed))
    assert set(intervals) <= BOOTSTRAPPED & set(values)
    for key, (low, high) in intervals.items():
        assert low < high
        assert 0 <= low <= values[key] + 1e-9
        assert values[key] - 1e-9 <= high <= BY_KEY[key].highest


def test_a_metric_is_in_its_interval_where_a_class_is_rare():
    """Four wrong pictures of a rare class, which few resamples lack: the quantiles do not see them, the mean does."""
    labels = np.repeat([0, 1], [100, 4])
    given = np.tile([0.9, 0.1], (104, 1))
    low, high = bootstrap.intervals(labels, given, 1000, np.random.default_rng(1))["balanced_accuracy"]
    assert low <= 0.5 <= high


def test_without_a_mistake_nothing_is_claimed_about_other_pictures():
    labels = np.arange(12) % 3
    intervals = bootstrap.intervals(labels, np.eye(3)[labels] * 0.94 + 0.02, 200, np.random.default_rng(1))
    assert intervals == {}
    assert wilson(12, 12)[0] < 0.8


def test_nothing_is_claimed_where_hardly_a_resample_differs():
    """All of one class: its precision is 1, except in the few resamples where no picture is predicted as it."""
    labels, given = np.zeros(7, int), np.eye(2)[[1, 1, 1, 1, 0, 0, 0]]
    intervals = bootstrap.intervals(labels, given, 200, np.random.default_rng(0))
    assert "weighted_precision" not in intervals
    assert "weighted_f1" in intervals


def test_intervals_of_means_are_those_of_scipy():
    labels, given = made_up(400, 5)
    intervals = bootstrap.intervals(labels, given, 2000, np.random.default_rng(1))
    for key, values in zip(("log_loss", "brier"), metrics.losses(labels, given), strict=True):
        expected = stats.bootstrap([values], np.mean, n_resamples=2000, method="percentile", rng=2).confidence_interval
        assert intervals[key] == pytest.approx(tuple(expected), rel=0.02)


@pytest.mark.parametrize("sharpness", [1.0, 2.0])  # nearly calibrated, and far overconfident
def test_intervals_contain_the_truth_about_19_times_in_20(sharpness):
    """Over many small test sets from a population whose metrics are known; that of the calibration error is wide."""
    trials = 150
    labels, given = made_up(40_000, 3, strength=1.0)
    given = given**sharpness / (given**sharpness).sum(axis=1, keepdims=True)
    truth, generator = metrics.point_estimates(labels, given), np.random.default_rng(5)
    contained = dict.fromkeys(BOOTSTRAPPED, 0)
    for _ in range(trials):
        rows = generator.integers(len(labels), size=150)
        intervals = bootstrap.intervals(labels[rows], given[rows], 400, generator)
        for key in contained:
            contained[key] += intervals[key][0] <= truth[key] <= intervals[key][1]
    assert min(contained.values()) >= 0.88 * trials, contained  # 0.95 less four standard errors of so few trials
    assert max(count for key, count in contained.items() if key != "ece") < trials, contained


def test_intervals_are_the_same_again_whatever_the_size_of_chunks(monkeypatch):
    labels, given = made_up(300, 4)
    first = bootstrap.intervals(labels, given, 150, np.random.default_rng(3))
    assert bootstrap.intervals(labels, given, 150, np.random.default_rng(3)) == first
    monkeypatch.setattr(bootstrap, "CHUNK", 300 * 7)
    again = bootstrap.intervals(labels, given, 150, np.random.default_rng(3))
    assert {key: pytest.approx(interval) for key, interval in first.items()} == again


def test_every_resample_has_all_its_pictures():
    counts = np.concatenate(list(bootstrap.resample_counts(50, 400, np.random.default_rng(0))))
    assert counts.shape == (400, 50)
    assert set(counts.sum(axis=1)) == {50}
    assert (counts == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.02)


def test_resamples_are_fewer_where_they_would_take_long():
    assert bootstrap.affordable(1000, 12_000, 10) == 1000
    assert 100 < bootstrap.affordable(1000, 20_000, 300) < 1000
    assert bootstrap.affordable(1000, 50_000, 1000) == 100
    assert bootstrap.affordable(200, 50, 3) == 200
