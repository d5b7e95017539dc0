"""The table of metrics is the one that is computed, and a figure is written with its interval if it has one."""

import numpy as np
import pytest

from darkroom.core.metric_table import BINS, BY_KEY, METRICS, Estimate
from darkroom.evaluate import bootstrap, metrics
from tests.helpers.evaluation import made_up


def test_the_table_holds_the_metrics_that_are_computed():
    labels, given = made_up(40, 8)
    values = metrics.point_estimates(labels, given)
    intervals = bootstrap.intervals(labels, given, 100, np.random.default_rng(0))
    assert set(values) == set(BY_KEY)
    assert set(intervals) == {metric.key for metric in METRICS if metric.interval == "bootstrap"}
    assert set(metrics.calibration(labels, given)) == {metric.key for metric in METRICS if metric.calibration}
    assert len(BY_KEY) == len(METRICS) == len({metric.label for metric in METRICS})


def test_what_the_table_says_of_metrics():
    assert BY_KEY["macro_f1"].title == "Macro F1"
    assert f"{BINS} bins" in BY_KEY["ece"].explanation
    assert all(metric.explanation.endswith(".") for metric in METRICS)


@pytest.mark.parametrize(
    ("estimate", "form", "text"),
    [
        (Estimate(0.85344, 0.82131, 0.87899), ".4f", "0.8534, 95 % interval 0.8213 to 0.8790"),
        (Estimate(1.0), ".4f", "1.0000"),
        (Estimate(-0.05, -0.1, 0.02), "+.2f", "-0.05, 95 % interval -0.10 to +0.02"),
        (Estimate.of({"ece": 0.25}, "ece"), ".4f", "0.2500"),
        (Estimate.of({"ece": 0.25, "ece_low": 0, "ece_high": 0.5}, "ece"), ".1f", "0.2, 95 % interval 0.0 to 0.5"),
    ],
)
def test_an_estimate_is_written_with_its_interval_if_it_has_one(estimate, form, text):
    assert estimate.text(form) == text
    assert estimate.interval(form) == text.partition("interval ")[2]
