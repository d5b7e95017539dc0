"""Curves as they are drawn and written; their areas are compared with scikit-learn's in test_metrics.py."""

import numpy as np
import pytest

from darkroom.evaluate import curves
from tests.helpers.evaluation import made_up


@pytest.mark.parametrize("kind", [curves.roc, curves.precision_recall])
def test_curves_in_files_are_short_and_keep_their_shape(kind):
    labels, given = made_up(2000, 6)
    all_curves = kind(labels, given, [f"class {number}" for number in range(6)])
    for curve in all_curves:
        rows = [(float(x), float(y)) for name, x, y in curves.points(all_curves) if name == curve.name]
        assert 2 <= len(rows) <= 101
        assert (rows[0][0], rows[-1][0]) == (0, 1)
        x, y = np.array(rows).T
        assert np.trapezoid(y, x) == pytest.approx(curve.area, abs=0.02)
    assert all_curves[-1].area == pytest.approx(np.mean([curve.area for curve in all_curves[:-1]]))


def test_of_many_classes_the_worst_are_drawn_and_the_mean_is_written():
    labels, given = made_up(1000, 30)
    all_curves = curves.roc(labels, given, [str(number) for number in range(30)])
    areas = sorted(curve.area for curve in all_curves[:-1])
    assert [curve.area for curve in curves.drawable(all_curves)] == [*areas[:5], all_curves[-1].area]
    assert {name for name, _, _ in curves.points(all_curves)} == {curves.MEAN}
