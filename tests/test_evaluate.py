import json
import math
import re

import numpy as np
import pytest
from PIL import Image

from stages import evaluate
from stages.common import plots
from stages.common.files import read_csv

CLASSES = ["a", "b", "c"]
# Ten pictures: true class, and the probabilities that were given to them.
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
GIVEN = np.array(
    [
        *([0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]),
        *([0.2, 0.6, 0.2], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4], [0.2, 0.2, 0.6]),
    ]
)


def test_figures_are_those_worked_out_by_hand():
    figures, per_class = evaluate.measure(LABELS, GIVEN, CLASSES)
    assert figures["accuracy"] == 0.8
    assert figures["n_test"] == 10
    # Wilson's interval of 8 in 10: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)
    z, n, p = 1.959964, 10, 0.8
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert figures["accuracy_low"] == pytest.approx((p + z * z / (2 * n) - half) / (1 + z * z / n), abs=1e-6)
    assert figures["accuracy_high"] == pytest.approx((p + z * z / (2 * n) + half) / (1 + z * z / n), abs=1e-6)
    assert per_class[0] == ("a", 3 / 4, 3 / 4, 3 / 4, 4)
    assert per_class[1] == ("b", pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3), 3)
    assert per_class[2] == ("c", 1, 1, 1, 3)
    assert figures["balanced_accuracy"] == pytest.approx((3 / 4 + 2 / 3 + 1) / 3)
    given = [0.8, 0.6, 0.5, 0.2, 0.8, 0.6, 0.05, 0.8, 0.4, 0.6]
    assert figures["log_loss"] == pytest.approx(-np.mean(np.log(given)))


def test_a_class_that_is_never_predicted_counts():
    _, per_class = evaluate.measure(np.array([0, 1]), np.array([[0.9, 0.1], [0.9, 0.1]]), ["a", "b"])
    assert per_class[1] == ("b", 0, 0, 0, 1)


def test_mistakes_come_surest_first():
    assert evaluate.most_confident_mistakes(LABELS, GIVEN, 5) == [6, 3]
    assert evaluate.most_confident_mistakes(LABELS, GIVEN, 1) == [6]


def test_the_same_figures_give_the_same_picture(tmp_path):
    for name in ("one.png", "two.png"):
        plots.confusion(LABELS, GIVEN.argmax(axis=1), CLASSES, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_the_outputs_agree_with_each_other(project):
    figures = json.loads((project / "reports/metrics.json").read_text())
    predictions = read_csv(project / "reports/predictions.csv")
    right = [row["label"] == row["predicted"] for row in predictions]
    tested = [row["picture"] for row in read_csv(project / "reports/split.csv") if row["split"] == "test"]
    assert figures["n_test"] == len(right) == len(tested) == pytest.approx(0.2 * 580, abs=5)  # groups are not cut
    assert figures["accuracy"] == pytest.approx(np.mean(right))
    assert figures["accuracy_low"] < figures["accuracy"] < figures["accuracy_high"]
    per_class = read_csv(project / "reports/per_class.csv")
    assert sum(int(row["support"]) for row in per_class) == figures["n_test"]
    assert all((project / row["path"]).exists() for row in predictions)
    for name in ("confusion", "per_class", "curves", "mistakes"):
        assert min(Image.open(project / f"reports/plots/{name}.png").size) > 150


def test_the_report_is_one_file(project):
    page = (project / "reports/report.html").read_text()
    assert len(re.findall(r'src="data:image/png;base64,[A-Za-z0-9+/=]{1000,}"', page)) == 4
    assert len(re.findall(r"src=|href=|url\(|@import|<script", page)) == 4  # nothing else is fetched
    figures = json.loads((project / "reports/metrics.json").read_text())
    assert f"{100 * figures['accuracy']:.2f} %" in page
    assert "Ankle_boot" in page
