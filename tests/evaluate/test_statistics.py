"""Intervals and tests against published values, formulas and values worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.evaluate import statistics
from darkroom.evaluate.statistics import Paired, wilson

counts = st.integers(0, 300)


def test_wilson_is_the_formula():
    # (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)
    z, n, p = 1.959964, 10, 0.8
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    middle, scale = p + z * z / (2 * n), 1 + z * z / n
    assert wilson(8, 10) == pytest.approx(((middle - half) / scale, (middle + half) / scale), abs=1e-6)


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        # Fagerland, Lydersen and Laake, "Statistical Analysis of Contingency Tables" (2017), chapter 8, and their R
        # package contingencytables: responses of Cavo et al. (2012), airways of Bentur et al. (2009).
        ((59, 16, 6, 80), -0.1186, -0.0046),
        ((1, 7, 1, 12), -0.5069, -0.0256),
    ],
)
def test_the_interval_of_the_difference_is_the_published_one(cells, low, high):
    difference = Paired(*cells).difference
    assert (round(difference.low, 4), round(difference.high, 4)) == (low, high)


def test_mcnemars_exact_test_by_hand():
    """Six pictures on which only one model is right, one of them the first: 2 * (1 + 6) / 2**6."""
    assert Paired(50, 1, 5, 3).p == Paired(0, 5, 1, 0).p == pytest.approx(2 * 7 / 64)
    assert Paired(50, 0, 0, 3).p == 1


@given(st.tuples(counts, counts, counts, counts).filter(any))
def test_exchanging_the_models_mirrors_everything(cells):
    both, first, second, neither = cells
    pair, mirrored = Paired(both, first, second, neither), Paired(both, second, first, neither)
    assert pair.p == mirrored.p
    assert pair.first == mirrored.second
    assert pair.difference.value == -mirrored.difference.value
    assert pair.difference.low == pytest.approx(-mirrored.difference.high)
    assert -1 - 1e-9 <= pair.difference.low <= pair.difference.value <= pair.difference.high <= 1 + 1e-9


def test_pairs_are_counted():
    first, second = np.array([1, 1, 1, 0, 0, 0], bool), np.array([1, 1, 0, 1, 1, 0], bool)
    assert Paired.of(first, second) == Paired(2, 1, 2, 1)


def test_students_paired_interval_by_hand():
    """Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3); 4.302653 is Student's t of two degrees of freedom."""
    estimate = statistics.mean_difference(np.array([5.0, 1.0, 0.0]), np.array([6.0, 3.0, 3.0]))
    assert estimate == pytest.approx((2, 2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))


def test_one_picture_gives_a_difference_without_an_interval():
    assert statistics.mean_difference(np.array([5.0]), np.array([7.0])) == (2, None, None)


def test_the_log_loss_of_a_probability_that_was_rounded_to_0_is_finite():
    assert statistics.log_losses(np.array([1.0, 0.5, 0.0])) == pytest.approx([0, math.log(2), math.log(2e6)])
