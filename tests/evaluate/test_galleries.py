"""Which pictures are shown."""

import numpy as np
import pytest

from darkroom.evaluate import galleries
from tests.helpers.evaluation import predictions


def rows_of(labels, given):
    return predictions(["a.png"], np.array(labels), np.array(given))


def test_mistakes_come_most_confident_first_and_successes_least_confident_first():
    test = rows_of([0, 0, 1, 1, 1], [[0.6, 0.4], [0.1, 0.9], [0.7, 0.3], [0.2, 0.8], [0.45, 0.55]])
    assert galleries.most_confident_mistakes(test, 5).tolist() == [1, 2]
    assert galleries.most_confident_mistakes(test, 1).tolist() == [1]
    assert galleries.least_confident_successes(test, 2).tolist() == [4, 0]


@pytest.mark.parametrize(
    ("wrong", "right", "count", "expected"),
    [
        (10, 10, 6, (3, 3)),
        (1, 10, 6, (1, 5)),
        (10, 1, 6, (5, 1)),
        (0, 4, 6, (0, 4)),
        (9, 9, 1, (1, 0)),
        (2, 2, 9, (2, 2)),
    ],
)
def test_half_of_the_explained_pictures_are_mistakes(wrong, right, count, expected):
    test = rows_of([1] * wrong + [0] * right, np.tile([0.9, 0.1], (wrong + right, 1)))
    rows = galleries.sample(test, count, np.random.default_rng(0))
    assert len(set(rows.tolist())) == len(rows)
    assert ((rows < wrong).sum(), (rows >= wrong).sum()) == expected
    assert all(np.diff((rows >= wrong).astype(int)) >= 0)  # mistakes first
