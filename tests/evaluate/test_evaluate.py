"""The stage as a whole: on a real small project, and on probabilities that were made up for real pictures."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from darkroom.core import paths
from darkroom.core.files import read_csv
from darkroom.evaluate import galleries
from darkroom.evaluate.label_noise import Suspect
from darkroom.evaluate.metrics import Predictions
from darkroom.models.classifier import Classifier
from stages import evaluate
from tests.helpers.project import ROOT, run

HISTORY = "epoch,accuracy,learning_rate,loss,val_accuracy,val_loss\n1,0.5,0.001,1.2,0.6,1.0\n2,0.7,0.001,0.8,0.7,0.9\n"
PARAMS = {"mistakes": 6, "bootstrap": 100, "grad_cam": 4, "label_issues": 3}
NAMES = ["bag", "<b>coat</b> & 'co' \"x\"", "cost $a_1$ and $", "", "d" * 60]


def probabilities(labels, classes, strength, seed=0):
    generator = np.random.default_rng(seed)
    given = np.exp(generator.normal(size=(len(labels), classes)) + strength * (labels[:, None] == np.arange(classes)))
    return given / given.sum(axis=1, keepdims=True)


def names(classes):
    return [NAMES[number] if number < 3 else f"class {number} {NAMES[4]}" for number in range(classes)]


def evaluated(pictures, classes, labels, strength=1.5, temperature=1.5, **changes):
    """Run everything but the prediction, on made-up probabilities; the page's HTML."""
    paths.HISTORY.parent.mkdir(exist_ok=True)
    paths.HISTORY.write_text(HISTORY)
    head = {"type": "knn", "neighbours": [5]}
    said = {"backbone": {"backbone": "VGG16", "image_size": [32, 32]}, "layers": ["block3_pool"], "tuned": None}
    said |= {"head": head, "classes": names(classes), "temperature": temperature, "epoch": 2}
    labels = np.array(labels)
    given = probabilities(labels, classes, strength)
    plain = given**temperature / (given**temperature).sum(axis=1, keepdims=True)
    test = Predictions([str(pictures[row % len(pictures)]) for row in range(len(labels))], labels, plain, given)
    params = evaluate.Params(**(PARAMS | changes))
    found = [Suspect(str(path), "train", names(classes)[0], names(classes)[1], 0.01) for path in pictures[:5]]
    found = found if params.label_issues else None
    parts = dict.fromkeys(("train", "val", "test"), test)
    figures = evaluate.evaluate(Classifier(said, None, None), "abc", parts, found, params, 1)
    return figures, paths.REPORT.read_text()


# What is evaluated: classes, labels of the test pictures, how much the model knows.
EVALUATIONS = {
    "usual": (5, np.arange(60) % 5, 1.5),
    "two classes": (2, np.arange(30) % 2, 1.0),
    "a class without test pictures": (3, np.arange(20) % 2, 1.0),
    "no mistake": (3, np.arange(12) % 3, 50.0),
    "no success": (3, np.arange(12) % 3, -50.0),
    "one picture": (3, [1], 1.0),
    "pictures of one class": (3, [1, 1, 1], 1.0),
    "many classes": (120, np.arange(400) % 120, 3.0),
}


@pytest.mark.parametrize("kind", EVALUATIONS)
def test_whatever_the_test_pictures_are(kind, workspace, pictures):
    classes, labels, strength = EVALUATIONS[kind]
    figures, page = evaluated(pictures, classes, labels, strength)
    labels = np.asarray(labels)
    assert json.loads(paths.METRICS.read_text()) == figures  # and so no NaN, which JSON has not
    assert figures.pop("model_sha256") == "abc"
    assert all(np.isfinite(value) for value in figures.values())
    for name in [name.removesuffix("_low") for name in figures if name.endswith("_low")]:
        assert figures[f"{name}_low"] <= figures[name] + 1e-7
        assert figures[name] - 1e-7 <= figures[f"{name}_high"]
    drawn = {path.stem for path in paths.PLOTS.iterdir()}
    expected = {"confusion", "confusion_normalised", "per_class", "reliability", "curves", "label_issues"}
    expected |= {"roc", "precision_recall"} if len(set(labels)) > 1 else set()
    accuracy = figures["accuracy"]
    expected |= ({"mistakes"} if accuracy < 1 else set()) | ({"doubts"} if accuracy > 0 else set())
    assert drawn == expected
    assert page.count("<img ") == len(drawn)
    assert ("None: every test picture was taken for what it is." in page) == (accuracy == 1)
    assert ("None: no test picture was taken for what it is." in page) == (accuracy == 0)
    assert len(read_csv(paths.PREDICTIONS)) == figures["n_test"] == len(labels)
    assert len(read_csv(paths.LABEL_ISSUES)) == figures["label_issues"] == 5
    assert (len(read_csv(paths.ROC)) > 0) == (len(set(labels)) > 1)
    for path in paths.PLOTS.iterdir():
        assert 120 < min(Image.open(path).size) <= max(Image.open(path).size) < 7000


def test_the_same_again_gives_the_same_bytes(workspace, pictures):
    def digests():
        evaluated(pictures, *EVALUATIONS["usual"])
        files = sorted(path for path in workspace.joinpath("reports").rglob("*") if path.is_file())
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    first = digests()
    assert len(first) == 8 + 1 + 10  # tables with metrics.json and the page, the history, pictures
    assert digests() == first


def test_what_is_not_asked_for_is_not_there(workspace, pictures):
    figures, page = evaluated(pictures, *EVALUATIONS["usual"], mistakes=0, grad_cam=0, label_issues=0)
    drawn = {path.stem for path in paths.PLOTS.iterdir()}
    assert not {"mistakes", "doubts", "grad_cam", "label_issues"} & drawn
    assert not any(f'id="{section}"' in page for section in ("mistakes", "doubts", "explained", "labels"))
    assert "label_issues" not in figures
    assert paths.LABEL_ISSUES.read_text() == "path,split,label,suggested,quality\n"


def test_calibration_on_and_off(workspace, pictures):
    figures, page = evaluated(pictures, *EVALUATIONS["usual"], temperature=3.0)
    assert {row["temperature"] for row in read_csv(paths.RELIABILITY)} == {"before", "after"}
    assert figures["uncalibrated_log_loss"] != figures["log_loss"]
    assert f"{figures['uncalibrated_ece']:.4f}" in page
    wide = Image.open(paths.PLOTS / "reliability.png").width
    figures, page = evaluated(pictures, *EVALUATIONS["usual"], temperature=1)
    assert {row["temperature"] for row in read_csv(paths.RELIABILITY)} == {"after"}
    assert figures["uncalibrated_log_loss"] == figures["log_loss"]
    assert "Calibration is off" in page
    assert Image.open(paths.PLOTS / "reliability.png").width < 0.6 * wide


def test_the_page_says_why_a_model_is_not_explained(workspace, pictures):
    _, page = evaluated(pictures, *EVALUATIONS["usual"])
    assert "Not shown: there is no Grad-CAM of a head of type knn" in page


def test_mistakes_come_surest_first_and_successes_least_sure_first():
    labels = np.array([0, 0, 1, 1, 1])
    given = np.array([[0.6, 0.4], [0.1, 0.9], [0.7, 0.3], [0.2, 0.8], [0.45, 0.55]])
    assert galleries.most_confident_mistakes(labels, given, 5).tolist() == [1, 2]
    assert galleries.most_confident_mistakes(labels, given, 1).tolist() == [1]
    assert galleries.least_confident_successes(labels, given, 2).tolist() == [4, 0]


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
    labels = np.array([1] * wrong + [0] * right)
    rows = galleries.sample(labels, np.tile([0.9, 0.1], (wrong + right, 1)), count, np.random.default_rng(0))
    assert len(set(rows.tolist())) == len(rows)
    assert ((rows < wrong).sum(), (rows >= wrong).sum()) == expected
    assert all(np.diff((rows >= wrong).astype(int)) >= 0)  # mistakes first


def test_importing_the_stage_is_cheap():
    slow = "{'tensorflow', 'keras', 'matplotlib', 'sklearn', 'cleanlab', 'mlflow', 'jinja2'}"
    code = f"import sys, stages.evaluate; assert not {slow} & set(sys.modules), {slow} & set(sys.modules)"
    run("python", "-c", code, cwd=ROOT)


def test_the_figures_of_train_are_those_of_the_rows_that_were_trained_on(project, monkeypatch):
    monkeypatch.chdir(project)
    figures, model = json.loads(paths.METRICS.read_text()), Classifier.load(paths.MODELS)
    train = model.inputs("train")
    given, labels = model.probabilities(train), train.numbers(model.classes)
    assert figures["accuracy_train"] == pytest.approx((given.argmax(axis=1) == labels).mean())
    assert figures["log_loss_train"] == pytest.approx(-np.log(given[np.arange(len(labels)), labels]).mean(), rel=1e-4)


def test_the_outputs_agree_with_each_other(project):
    figures = json.loads((project / "reports/metrics.json").read_text())
    predictions = read_csv(project / "reports/predictions.csv")
    right = [row["label"] == row["predicted"] for row in predictions]
    tested = [row["picture"] for row in read_csv(project / "reports/split.csv") if row["split"] == "test"]
    assert figures["n_test"] == len(right) == len(tested) == pytest.approx(0.2 * 580, abs=5)  # groups are not cut
    assert figures["accuracy"] == pytest.approx(np.mean(right))
    assert figures["accuracy_low"] < figures["accuracy"] < figures["accuracy_high"]
    own = [float(row["label_probability"]) for row in predictions]
    assert figures["log_loss"] == pytest.approx(-np.mean(np.log(own)), abs=1e-3)
    assert all(
        (float(row["probability"]) == given) == same for row, given, same in zip(predictions, own, right, strict=True)
    )
    per_class = read_csv(project / "reports/per_class.csv")
    assert sum(int(row["support"]) for row in per_class) == figures["n_test"]
    assert all((project / row["path"]).exists() for row in predictions)
    report = json.loads((project / "reports/train.json").read_text())
    assert figures["log_loss_val"] == pytest.approx(report["final_val_log_loss"], rel=1e-4)
    assert figures["accuracy_val"] == pytest.approx(report["final_val_accuracy"])
    rows = {part: len(read_csv(project / f"data/features/{part}.csv")) for part in ("train", "val", "test")}
    assert {part: figures[f"n_{part}"] for part in rows} == rows
    issues = read_csv(project / "reports/label_issues.csv")
    assert len(issues) == figures["label_issues"]
    assert all((project / row["path"]).exists() and 0 <= float(row["quality"]) <= 1 for row in issues)
    for name in ("confusion", "per_class", "curves", "mistakes", "doubts", "grad_cam", "roc", "reliability"):
        assert min(Image.open(project / f"reports/plots/{name}.png").size) > 150


@pytest.mark.full
def test_the_stage_writes_the_same_bytes_again(project, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(project, copy, symlinks=True)
    run("dvc", "repro", "-f", "-s", "evaluate", cwd=copy)
    for path in sorted((project / "reports").rglob("*")):
        if path.is_file():
            assert (copy / path.relative_to(project)).read_bytes() == path.read_bytes(), path
