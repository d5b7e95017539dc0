"""The stage as a whole: on the small project, and on made-up predictions, whatever they are."""

import hashlib
import json
import subprocess
import sys

import mlflow
import numpy as np
import pytest
from PIL import Image

from darkroom.commands import summary
from darkroom.commands.promote.validation import Validated
from darkroom.core import paths
from darkroom.core.files import read_csv
from darkroom.core.metric_table import METRICS, Estimate
from darkroom.core.model_spec import model_sha256
from darkroom.export import model_card
from darkroom.models.classifier import Classifier
from darkroom.tracking import pipeline_log, run_text, tags
from tests.helpers.evaluation import EVALUATIONS, evaluated
from tests.helpers.project import ROOT, copy_project, inside, run, without

FORMAT = {"pictures": 9, "same_label": 1.0, "within": 1e-4, "accuracy": 0.5, "keras_accuracy": 0.5, "bytes": 1}


@pytest.fixture(scope="module")
def ran(project, tmp_path_factory):
    """A copy of the small project with its store as the current folder, for made-up evaluations of its model."""
    folder = tmp_path_factory.mktemp("ran") / "project"
    with inside(project, folder, without(project, ".cache", ".dvc/cache", "data/raw", "data/features")):
        yield folder


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.full] if kind == "many classes" else []) for kind in EVALUATIONS]
)
def test_whatever_the_test_pictures_are(kind, ran, pictures):
    """From the evaluation to everything that reads its metrics: the report, the model card, MLflow, the commands."""
    classes, labels, given = EVALUATIONS[kind]
    model, metrics, page = evaluated(pictures, classes, labels, given, sha256=model_sha256(paths.MODELS))
    assert json.loads(paths.METRICS.read_text()) == metrics  # and so no NaN, which JSON has not
    check_outputs(metrics, page, np.asarray(labels))
    pipeline_log.log_evaluation()
    card = model_card.render(model, {"onnx": FORMAT})
    logged = newest_run()
    note = logged.data.tags[run_text.NOTE]
    for metric in METRICS:
        if metric.key not in metrics:
            assert f"| {metric.label} |" not in card
            assert f">{metric.title}<" not in page
            continue
        estimate = Estimate.of(metrics, metric.key)
        assert metric.interval == "bootstrap" or estimate.interval()
        row = f"| {metric.label} | {estimate.value:.4f} | {estimate.interval()} |"
        assert row in card
        assert (row in note) == metric.headline
        number = '<td class="number">{}</td>'.format
        assert f"<td>{metric.title}</td>{number(f'{estimate.value:.4f}')}{number(estimate.interval())}" in page
        assert Estimate.of(logged.data.metrics, f"test_{metric.key}") == pytest.approx(estimate)
    accuracy = Estimate.of(metrics, "accuracy").text()
    assert f"accuracy {accuracy}; log loss " in Validated("", logged, None, [], np.array([]), np.array([])).test()
    assert f"Test accuracy   {accuracy}, on {metrics['n_test']:,} pictures" in summary.summary()


def newest_run():
    """The newest run in the current folder's store."""
    client = mlflow.MlflowClient(f"sqlite:///{paths.METRICS.resolve().parents[1] / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("darkroom").experiment_id
    newest, *_ = client.search_runs([experiment], order_by=["attributes.start_time DESC"])
    assert newest.data.tags[tags.PARENT]  # the model's own run holds the evaluation of the small project
    return newest


def check_outputs(metrics, page, labels):
    """Metrics are finite and in their intervals, and there is a picture, a table or a sentence for everything."""
    assert all(np.isfinite(value) for key, value in metrics.items() if key != "model_sha256")
    for key in [key.removesuffix("_low") for key in metrics if key.endswith("_low")]:
        assert metrics[f"{key}_low"] <= metrics[key] + 1e-7
        assert metrics[key] - 1e-7 <= metrics[f"{key}_high"]
    drawn = {path.stem for path in paths.PLOTS.iterdir()}
    expected = {"confusion", "confusion_normalised", "per_class", "reliability", "curves", "label_issues"}
    expected |= {"roc", "precision_recall"} if len(set(labels)) > 1 else set()
    accuracy = metrics["accuracy"]
    expected |= ({"mistakes"} if accuracy < 1 else set()) | ({"doubts"} if accuracy > 0 else set())
    assert drawn == expected
    assert page.count("<img ") == len(drawn)
    assert ("None: every test picture was classified correctly." in page) == (accuracy == 1)
    assert ("None: no test picture was classified correctly." in page) == (accuracy == 0)
    assert len(read_csv(paths.PREDICTIONS)) == metrics["n_test"] == len(labels)
    assert len(read_csv(paths.LABEL_ISSUES)) == metrics["label_issues"] == 2
    assert (len(read_csv(paths.ROC)) > 0) == (len(set(labels)) > 1)
    for path in paths.PLOTS.iterdir():
        assert 120 < min(Image.open(path).size) <= max(Image.open(path).size) < 7000


def test_the_same_again_gives_the_same_bytes(workspace, pictures):
    def digests():
        evaluated(pictures, *EVALUATIONS["two classes"])
        files = sorted(path for path in workspace.joinpath("reports").rglob("*") if path.is_file())
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    first = digests()
    assert len(first) == 9 + 3 + 10  # tables with metrics.json and the page, of training and download, pictures
    assert {row["temperature"] for row in read_csv(paths.RELIABILITY)} == {"before", "after"}
    wide = Image.open(paths.PLOTS / "reliability.png").width
    assert digests() == first

    _, metrics, page = evaluated(
        pictures, *EVALUATIONS["two classes"], temperature=1, mistakes=0, grad_cam=0, label_issues=0
    )
    nothing_asked_for(metrics, page)
    not_calibrated(metrics, page, wide)


def nothing_asked_for(metrics, page):
    """Galleries of no pictures are left out."""
    drawn = {path.stem for path in paths.PLOTS.iterdir()}
    assert not {"mistakes", "doubts", "grad_cam", "label_issues"} & drawn
    assert not any(f'id="{section}"' in page for section in ("mistakes", "doubts", "explained", "labels"))
    assert "label_issues" not in metrics
    assert paths.LABEL_ISSUES.read_text() == "path,split,label,suggested,quality,suggested_quality\n"
    assert paths.LABEL_QUALITY.read_text() == paths.LABEL_ISSUES.read_text()


def not_calibrated(metrics, page, wide):
    """Without calibration there is one reliability diagram instead of two."""
    assert {row["temperature"] for row in read_csv(paths.RELIABILITY)} == {"after"}
    assert metrics["uncalibrated_log_loss"] == metrics["log_loss"]
    assert "The model is not calibrated" in page
    assert Image.open(paths.PLOTS / "reliability.png").width < 0.6 * wide


def test_importing_the_stage_is_cheap():
    slow = "{'tensorflow', 'keras', 'matplotlib', 'sklearn', 'scipy', 'pandas', 'cleanlab', 'mlflow', 'jinja2'}"
    code = f"import sys, stages.evaluate; assert not {slow} & set(sys.modules), {slow} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.usefixtures("tensorflow")
def test_the_metrics_of_train_are_those_of_the_rows_that_were_trained_on(project, monkeypatch):
    """With the same features and model as in the evaluation, and so the same figures in any precision."""
    monkeypatch.chdir(project)
    metrics, model = json.loads(paths.METRICS.read_text()), Classifier.load(paths.MODELS)
    train = model.inputs("train")
    logits = model.logits(train) / model.spec.temperature
    labels = train.numbers(model.spec.classes)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert metrics["accuracy_train"] == pytest.approx((logits.argmax(axis=1) == labels).mean())
    assert metrics["log_loss_train"] == pytest.approx(
        -log_probabilities[np.arange(len(labels)), labels].mean(), rel=1e-4
    )


def test_the_outputs_agree_with_each_other(project):
    metrics = json.loads((project / "reports/metrics.json").read_text())
    predictions = read_csv(project / "reports/predictions.csv")
    right = [row["label"] == row["predicted"] for row in predictions]
    tested = [row["picture"] for row in read_csv(project / "reports/split.csv") if row["split"] == "test"]
    assert metrics["n_test"] == len(right) == len(tested) == pytest.approx(0.2 * 580, abs=5)  # groups are not cut
    assert metrics["accuracy"] == pytest.approx(np.mean(right))
    assert metrics["accuracy_low"] < metrics["accuracy"] < metrics["accuracy_high"]
    own = [float(row["label_probability"]) for row in predictions]
    assert metrics["log_loss"] == pytest.approx(-np.mean(np.log(own)), abs=1e-3)
    assert all(
        (float(row["probability"]) == given) == same for row, given, same in zip(predictions, own, right, strict=True)
    )
    per_class = read_csv(project / "reports/per_class.csv")
    assert sum(int(row["support"]) for row in per_class) == metrics["n_test"]
    assert all((project / row["path"]).exists() for row in predictions)
    report = json.loads((project / "reports/train.json").read_text())
    assert metrics["log_loss_val"] == pytest.approx(report["final_val_log_loss"], rel=1e-4)
    assert metrics["accuracy_val"] == pytest.approx(report["final_val_accuracy"])
    rows = {part: len(read_csv(project / f"data/features/{part}.csv")) for part in ("train", "val", "test")}
    assert {part: metrics[f"n_{part}"] for part in rows} == rows
    issues = read_csv(project / "reports/label_issues.csv")
    assert len(issues) == metrics["label_issues"]
    assert all((project / row["path"]).exists() and 0 <= float(row["quality"]) <= 1 for row in issues)
    for name in ("confusion", "per_class", "curves", "mistakes", "doubts", "grad_cam", "roc", "reliability"):
        assert min(Image.open(project / f"reports/plots/{name}.png").size) > 150


@pytest.mark.full
def test_the_stage_writes_the_same_bytes_again(project, tmp_path):
    copy = tmp_path / "copy"
    copy_project(project, copy)
    run("dvc", "repro", "-f", "-s", "evaluate", cwd=copy)
    for path in sorted((project / "reports").rglob("*")):
        if path.is_file():
            assert (copy / path.relative_to(project)).read_bytes() == path.read_bytes(), path
