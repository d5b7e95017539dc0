"""The stage as a whole: what its files say, and that they fit together."""

import json

import mlflow
import numpy as np
import pytest
from scipy.special import softmax

from darkroom.core import precision
from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.core.model_spec import ModelSpec, model_sha256
from darkroom.core.params import Base
from darkroom.core.yaml import read_yaml
from darkroom.models.classifier import Classifier
from darkroom.models.inputs import Features
from darkroom.train import checkpoints
from darkroom.train.params import Params
from stages import train
from tests.helpers.stores import new_store

pytestmark = pytest.mark.usefixtures("tensorflow")


def test_the_outputs_fit_together(project):
    """Of the mode `head`; the saved model gives the figures of the report."""
    report = json.loads((project / "reports/train.json").read_text())
    history = read_csv(project / "reports/history.csv")
    assert report["epochs"] == len(history) <= 6
    assert report["model_sha256"] == model_sha256(project / "models")
    best = min(history, key=lambda row: float(row["val_loss"]))
    assert (report["best_epoch"], report["best_val_loss"]) == (int(best["epoch"]), float(best["val_loss"]))
    assert json.loads((project / "models/classes.json").read_text())[:2] == ["Ankle_boot", "Bag"]
    model = Classifier.load(project / "models")
    val = Features(project / "data/features", "val", ["block3_pool"])
    logits, labels = model.logits(val), val.numbers(model.spec.classes)
    accuracy = (logits.argmax(axis=1) == labels).mean()
    assert accuracy == pytest.approx(report["best_val_accuracy"], abs=1e-6)
    assert accuracy == pytest.approx(report["final_val_accuracy"], abs=1e-6)
    assert model.spec.temperature == report["temperature"]
    probabilities = softmax(logits / report["temperature"], axis=1)[np.arange(len(labels)), labels]
    assert -np.log(probabilities).mean() == pytest.approx(report["final_val_log_loss"], rel=1e-4)


@pytest.mark.full
def test_a_fine_tuned_model_is_written_whole(vgg16, tmp_path):
    """`main`, with its run in MLflow."""
    new_store(tmp_path / "mlflow.db")
    (tmp_path / "reports/split.csv").write_text("picture,class,split,md5\na,Bag,train,0\nb,Bag,val,1\nc,Bag,test,2\n")
    (tmp_path / "reports/split.json").write_text('{"classes": {"Bag": {"train": 1, "val": 1, "test": 1}}}')
    (tmp_path / "reports/dataset.json").write_text('{"classes": {"Bag": 3}}')
    section = read_yaml(tmp_path / "params.yaml")["train"] | {"mode": "fine_tune", "epochs": 3, "batch_size": 16}
    section["fine_tune"] |= {"unfreeze": "block4", "epochs": 2, "learning_rate": 0.0003}
    params = Params(**section)
    state = checkpoints.folder({"seed": 1, **params.state_key()}, train.inputs(params))
    train.main(Base(seed=1), params)
    assert list(state.rglob("state-*.npz"))
    report = json.loads((tmp_path / "reports/train.json").read_text())
    history = read_csv(tmp_path / "reports/history.csv")
    assert len(history) == report["epochs"] == report["warm_up_epochs"] + 2
    assert float(history[-1]["learning_rate"]) == pytest.approx(0.0003)
    assert report["cut"] == "block3_pool"
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [
        "backbone.weights.h5", "classes.json", "head.weights.h5", "model.json"
    ]  # fmt: skip
    spec = ModelSpec.load(tmp_path / "models")
    assert (spec.mode, spec.epoch, spec.temperature) == ("fine_tune", report["kept_epoch"], report["temperature"])
    (run,) = mlflow.search_runs(experiment_names=["darkroom"], output_format="list")
    assert run.data.metrics["final_val_accuracy"] == report["final_val_accuracy"]
    assert run.data.tags["precision"] == precision.choose("auto").policy
    points = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_loss")
    assert [point.step for point in points] == list(range(1, len(history) + 1))
    files = mlflow.MlflowClient().list_artifacts(run.info.run_id, "training")
    assert "training/model.txt" in [file.path for file in files]
    mlflow.set_tracking_uri(None)
    assert "block4_conv1 (Conv2D)" in (tmp_path / "reports/model.txt").read_text()
    # Weights that differ only above the features are another training.
    weights = tmp_path / "data/features/backbone.weights.h5"
    weights.write_bytes(weights.read_bytes() + b"\0")
    assert checkpoints.folder({"seed": 1, **params.state_key()}, train.inputs(params)) != state


def test_modes_on_features_need_a_backbone(workspace):
    (workspace / "reports").mkdir()
    (workspace / "reports/extract.json").write_text('{"backbone": null}')
    with pytest.raises(UserError, match=r"train.mode head needs a network, but extract.backbone is null"):
        train.main(Base(), Params())
