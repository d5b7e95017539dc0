"""The index of near-duplicates, against comparing all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.near_duplicates import all_pairs, clustered, index, one_group, pictures
from darkroom.download import near_duplicates


@pytest.mark.parametrize("kind", [clustered, one_group])
@pytest.mark.parametrize("threshold", [0.9, 0.96])
def test_the_groups_are_those_of_all_pairs(kind, threshold, monkeypatch):
    monkeypatch.setattr(near_duplicates, "PAIRS", 1000)
    monkeypatch.setattr(near_duplicates, "LARGE", 4)
    monkeypatch.setattr(near_duplicates, "FEW", 100)
    hashes, details = pictures(kind(1500))
    expected = all_pairs(hashes, details, threshold)
    assert expected
    assert index(hashes, details, threshold) == expected


@settings(max_examples=30)
@given(
    flips=st.lists(st.sets(st.integers(0, 63), max_size=9), min_size=1, max_size=60),
    threshold=st.sampled_from([0.01, 0.5, 0.9, 1.0]),
    large=st.integers(0, 8),
    seed=st.integers(0, 99),
)
def test_any_bits_may_differ(flips, threshold, large, seed):
    """Hashes around one, and details of a few values, many of them equal."""
    hashes = np.array([sum(1 << bit for bit in bits) for bits in flips], np.uint64)
    details = np.random.default_rng(seed).integers(-1, 2, (len(flips), 8)).astype(np.int8)
    details[:, 0] = 1  # none is all 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "LARGE", large)
        patch.setattr(near_duplicates, "FEW", large)
        assert index(hashes, details, threshold) == all_pairs(hashes, details, threshold)


def test_pictures_of_more_than_eight_bits_apart_are_not_compared():
    hashes = np.array([0, 0b11111111, 0b111111111 << 20], np.uint64)
    details = np.ones((3, 8), np.int8)
    assert index(hashes, details, 0.9) == [[0, 1]]


@pytest.mark.parametrize("count", [0, 1])
def test_there_may_be_nothing_to_compare(count):
    assert index(np.zeros(count, np.uint64), np.ones((count, 8), np.int8), 0.9) == []
