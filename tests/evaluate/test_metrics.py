import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from darkroom.evaluate import bootstrap
from darkroom.evaluate import curves as ranking
from darkroom.evaluate import metrics as measures
from darkroom.evaluate.intervals import wilson

CLASSES = ["a", "b", "c"]
MEANS = {"balanced_accuracy", "macro_precision", "macro_f1", "weighted_precision", "weighted_f1"}
BOOTSTRAPPED = MEANS | {"roc_auc", "average_precision", "log_loss", "brier", "ece"}
# Ten pictures: true class, and the probabilities that were given to them.
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
GIVEN = np.array(
    [
        *([0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]),
        *([0.2, 0.6, 0.2], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4], [0.2, 0.2, 0.6]),
    ]
)


def made_up(pictures, classes, seed=0, strength=2.0):
    """Labels, and probabilities that know something of them."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=pictures)
    given = np.exp(generator.normal(size=(pictures, classes)) + strength * (labels[:, None] == np.arange(classes)))
    return labels, given / given.sum(axis=1, keepdims=True)


@st.composite
def evaluations(draw):
    """Labels and probabilities of few pictures, many of them equal, some 0 or 1, and a weight for each picture."""
    classes, pictures = draw(st.integers(2, 4)), draw(st.integers(1, 14))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=pictures, max_size=pictures))
    parts = st.lists(st.integers(0, 3), min_size=classes, max_size=classes).filter(any)
    rows = np.array(draw(st.lists(parts, min_size=pictures, max_size=pictures)), float)
    weights = draw(st.lists(st.integers(0, 3), min_size=pictures, max_size=pictures).filter(any))
    return np.array(labels), rows / rows.sum(axis=1, keepdims=True), np.array(weights, np.int32)


def test_figures_are_those_worked_out_by_hand():
    figures, scores = measures.headline(LABELS, GIVEN), measures.per_class(LABELS, GIVEN, CLASSES)
    assert figures["accuracy"] == 0.8
    assert "top_3_accuracy" not in figures  # of three classes
    assert scores[0] == ("a", 3 / 4, 3 / 4, 3 / 4, 4)
    assert scores[1] == ("b", pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3), 3)
    assert scores[2] == ("c", 1, 1, 1, 3)
    assert figures["balanced_accuracy"] == pytest.approx((3 / 4 + 2 / 3 + 1) / 3)
    assert figures["weighted_f1"] == pytest.approx((4 * 3 / 4 + 3 * 2 / 3 + 3 * 1) / 10)
    right = [0.8, 0.6, 0.5, 0.2, 0.8, 0.6, 0.05, 0.8, 0.4, 0.6]
    assert figures["log_loss"] == pytest.approx(-np.mean(np.log(right)))
    # Pairs of a picture of the class and one of the rest, in which the first is given more; equal ones are halves.
    assert figures["roc_auc"] == pytest.approx((18 / 24 + 13 / 21 + 21 / 21) / 3)


def test_wilson_is_the_formula():
    # (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)
    z, n, p = 1.959964, 10, 0.8
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    middle, scale = p + z * z / (2 * n), 1 + z * z / n
    assert wilson(8, 10) == pytest.approx(((middle - half) / scale, (middle + half) / scale), abs=1e-6)


def test_calibration_error_by_hand():
    # Confidences 0.9, 0.9 (one right) and 0.6 (right): two bins, gaps 0.4 and 0.4.
    given = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    labels = np.array([0, 1, 1])
    assert measures.calibration(labels, given)["ece"] == pytest.approx(0.4)
    assert measures.reliability(labels, given) == [
        (8, pytest.approx(0.6), 1.0, 1),
        (13, pytest.approx(0.9), 0.5, 2),
    ]
    assert measures.bins(np.array([[1.0, 0.0], [0.5, 0.5], [1 / 15, 14 / 15]])).tolist() == [14, 7, 13]


@settings(max_examples=60, deadline=None)
@given(evaluations())
def test_figures_are_those_of_scikit_learn(evaluation):
    labels, given, _ = evaluation
    figures, numbers = measures.headline(labels, given), np.arange(given.shape[1])
    assert figures["log_loss"] == pytest.approx(metrics.log_loss(labels, given, labels=numbers))
    brier = metrics.brier_score_loss(labels, given, labels=numbers, scale_by_half=False)
    assert figures["brier"] == pytest.approx(brier)
    assert 0 <= figures["accuracy"] <= figures.get("top_3_accuracy", 1) <= 1
    assert 0 <= figures["ece"] <= 1
    assert ("roc_auc" in figures) == (len(set(labels)) > 1)
    for number in set(labels) if len(set(labels)) > 1 else ():
        curves = [curve(labels, given, numbers) for curve in (ranking.roc, ranking.precision_recall)]
        roc, recall = ({curve.name: curve for curve in found}[number] for found in curves)
        assert np.trapezoid(roc.y, roc.x) == pytest.approx(roc.area)
        assert np.sum(np.diff(recall.x) * recall.y[1:]) == pytest.approx(recall.area)


def test_top_k_is_that_of_scikit_learn():
    labels, given = made_up(500, 8)
    figures = measures.headline(labels, given)
    for k in (3, 5):
        assert figures[f"top_{k}_accuracy"] == pytest.approx(metrics.top_k_accuracy_score(labels, given, k=k))


@settings(max_examples=60, deadline=None)
@given(evaluations())
def test_a_resample_is_what_scikit_learn_makes_of_weights(evaluation):
    labels, given, weights = evaluation
    found = {name: values[0] for name, values in bootstrap.figures(weights[None], labels, given).items()}
    there, how = np.unique(np.repeat(labels, weights)), {"sample_weight": weights}
    for kind in ("macro", "weighted"):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            labels, given.argmax(axis=1), labels=there, average=kind, zero_division=0, **how
        )
        assert found[f"{kind}_precision"] == pytest.approx(precision)
        assert found[f"{kind}_f1"] == pytest.approx(f1)
        if kind == "macro":
            assert found["balanced_accuracy"] == pytest.approx(recall)
    log_loss = metrics.log_loss(labels, given, labels=range(given.shape[1]), **how)
    assert found["log_loss"] == pytest.approx(log_loss)
    drawn, numbers = np.repeat(np.arange(len(labels)), weights), range(given.shape[1])
    assert found["ece"] == pytest.approx(measures.calibration(labels[drawn], given[drawn])["ece"])
    brier = metrics.brier_score_loss(labels[drawn], given[drawn], labels=numbers, scale_by_half=False)
    assert found["brier"] == pytest.approx(brier)
    for name, score in (("roc_auc", metrics.roc_auc_score), ("average_precision", metrics.average_precision_score)):
        if len(there) > 1:
            expected = [score(labels[drawn] == number, given[drawn, number]) for number in there]
            assert found[name] == pytest.approx(np.mean(expected))
        else:
            assert np.isnan(found[name])


@settings(max_examples=50, deadline=None)
@given(evaluations(), st.integers(0, 99))
def test_intervals_hold_the_figures(evaluation, seed):
    labels, given, _ = evaluation
    figures = measures.headline(labels, given)
    found = bootstrap.intervals(labels, given, 200, np.random.default_rng(seed))
    assert set(found) <= BOOTSTRAPPED & set(figures)
    for name, (low, high) in found.items():
        assert low < high
        assert 0 <= low <= figures[name] + 1e-9
        assert figures[name] - 1e-9 <= high <= bootstrap.HIGHEST.get(name, 1)


def test_a_figure_is_in_its_interval_where_a_class_is_rare():
    """Four wrong pictures of a rare class, which few resamples lack: the quantiles do not see them, the mean does."""
    labels = np.repeat([0, 1], [100, 4])
    given = np.tile([0.9, 0.1], (104, 1))
    low, high = bootstrap.intervals(labels, given, 1000, np.random.default_rng(1))["balanced_accuracy"]
    assert low <= 0.5 <= high


def test_without_a_mistake_nothing_is_claimed_of_other_pictures():
    labels = np.arange(12) % 3
    found = bootstrap.intervals(labels, np.eye(3)[labels] * 0.94 + 0.02, 200, np.random.default_rng(1))
    assert found == {}
    assert wilson(12, 12)[0] < 0.8


def test_nothing_is_claimed_of_what_hardly_a_resample_shows():
    """All of one class: its precision is 1, but in the few resamples without a picture that is called by its name."""
    found = bootstrap.intervals(np.zeros(7, int), np.eye(2)[[1, 1, 1, 1, 0, 0, 0]], 200, np.random.default_rng(0))
    assert "weighted_precision" not in found
    assert "weighted_f1" in found


def test_intervals_of_means_are_those_of_scipy():
    labels, given = made_up(400, 5)
    found = bootstrap.intervals(labels, given, 2000, np.random.default_rng(1))
    for name, values in zip(("log_loss", "brier"), measures.losses(labels, given), strict=True):
        expected = stats.bootstrap([values], np.mean, n_resamples=2000, method="percentile", rng=2).confidence_interval
        assert found[name] == pytest.approx(tuple(expected), rel=0.02)


@pytest.mark.parametrize("sharpness", [1.0, 2.0])  # nearly calibrated, and much too sure
def test_intervals_hold_the_truth_about_19_times_in_20(sharpness):
    """Over many small test sets from a population whose figures are known; that of the calibration error is wide."""
    labels, given = made_up(40_000, 3, strength=1.0)
    given = given**sharpness / (given**sharpness).sum(axis=1, keepdims=True)
    truth, generator, held = measures.headline(labels, given), np.random.default_rng(5), dict.fromkeys(BOOTSTRAPPED, 0)
    for _ in range(150):
        rows = generator.integers(len(labels), size=150)
        found = bootstrap.intervals(labels[rows], given[rows], 400, generator)
        for name in held:
            held[name] += found[name][0] <= truth[name] <= found[name][1]
    assert min(held.values()) >= 0.88 * 150, held  # 0.95 less four standard errors of so few trials
    assert max(count for name, count in held.items() if name != "ece") < 150, held


def test_chance_makes_a_calibrated_model_look_a_little_wrong():
    _, given = made_up(300, 4)
    generator = np.random.default_rng(0)
    errors = []
    for _ in range(300):
        labels = (given.cumsum(axis=1) < generator.random((300, 1))).sum(axis=1)  # as often as the model says
        errors.append(measures.calibration(np.minimum(labels, 3), given)["ece"])
    assert measures.chance_error(given) == pytest.approx(np.mean(errors), rel=0.05)


def test_intervals_are_the_same_again_and_whatever_fits_into_memory(monkeypatch):
    labels, given = made_up(300, 4)
    first = bootstrap.intervals(labels, given, 150, np.random.default_rng(3))
    assert bootstrap.intervals(labels, given, 150, np.random.default_rng(3)) == first
    monkeypatch.setattr(bootstrap, "CHUNK", 300 * 7)
    again = bootstrap.intervals(labels, given, 150, np.random.default_rng(3))
    assert {name: pytest.approx(interval) for name, interval in first.items()} == again


def test_every_resample_has_all_its_pictures():
    counts = np.concatenate(list(bootstrap.drawn(50, 400, np.random.default_rng(0))))
    assert counts.shape == (400, 50)
    assert set(counts.sum(axis=1)) == {50}
    assert (counts == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.02)


def test_resamples_are_fewer_where_they_would_take_long():
    assert bootstrap.affordable(1000, 12_000, 10) == 1000
    assert 100 < bootstrap.affordable(1000, 20_000, 300) < 1000
    assert bootstrap.affordable(1000, 50_000, 1000) == 100
    assert bootstrap.affordable(200, 50, 3) == 200


def test_a_class_that_is_never_predicted_counts():
    labels, given = np.array([0, 1]), np.array([[0.9, 0.1], [0.9, 0.1]])
    assert measures.per_class(labels, given, ["a", "b"])[1] == ("b", 0, 0, 0, 1)
    assert measures.headline(labels, given)["balanced_accuracy"] == 0.5


def test_a_class_without_test_pictures_does_not_count():
    labels, given = np.array([0, 1, 1]), np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.1, 0.3, 0.6]])
    figures = measures.headline(labels, given)
    assert figures["balanced_accuracy"] == pytest.approx((1 + 1 / 2) / 2)
    assert figures["roc_auc"] == 1
    assert measures.per_class(labels, given, CLASSES)[2] == ("c", 0, 0, 0, 0)
    assert [curve.name for curve in ranking.roc(labels, given, CLASSES)] == ["a", "b", ranking.MEAN]


@pytest.mark.parametrize("curve", [ranking.roc, ranking.precision_recall])
def test_curves_in_files_are_short_and_keep_their_course(curve):
    labels, given = made_up(2000, 6)
    found = curve(labels, given, [f"class {number}" for number in range(6)])
    for one in found:
        rows = [(float(x), float(y)) for name, x, y in ranking.table(found) if name == one.name]
        assert 2 <= len(rows) <= 101
        assert (rows[0][0], rows[-1][0]) == (0, 1)
        x, y = np.array(rows).T
        assert np.trapezoid(y, x) == pytest.approx(one.area, abs=0.02)
    assert found[-1].area == pytest.approx(np.mean([one.area for one in found[:-1]]))


def test_of_many_classes_the_worst_are_drawn_and_the_mean_is_written():
    labels, given = made_up(3000, 30)
    curves = ranking.roc(labels, given, [str(number) for number in range(30)])
    areas = sorted(curve.area for curve in curves[:-1])
    assert [curve.area for curve in ranking.shown(curves)] == [*areas[:5], curves[-1].area]
    assert {name for name, _, _ in ranking.table(curves)} == {ranking.MEAN}
