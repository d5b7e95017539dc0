"""Where weights come from: a file, an earlier model's folder, a model in MLflow."""

import shutil

import keras
import mlflow
import numpy as np
import pytest

from darkroom.backbones import keras_apps, weights
from darkroom.core.errors import UserError
from tests.helpers.project import run
from tests.helpers.training import extracted, tuned


@pytest.fixture
def own(workspace):
    """A network with weights of its own, below data/weights in three forms."""
    (workspace / "data/weights").mkdir(parents=True)
    keras.utils.set_random_seed(5)
    network = keras_apps.network("MobileNetV2", (32, 32))
    network.save_weights(workspace / "data/weights/own.weights.h5")
    network.save(workspace / "data/weights/own.keras")
    return network


def filled(name, source):
    keras.utils.set_random_seed(1)
    network = keras_apps.network(name, (32, 32))
    weights.fill(network, name, source)
    return network.get_weights()


@pytest.mark.parametrize("file", ["own.weights.h5", "own.keras"])
def test_a_file(own, file):
    for ours, expected in zip(filled("MobileNetV2", f"data/weights/{file}"), own.get_weights(), strict=True):
        assert (ours == expected).all()


@pytest.mark.parametrize(
    ("name", "source", "sentence"),
    [
        ("VGG16", "data/weights/own.weights.h5", "own.weights.h5 does not hold the weights of VGG16"),
        ("MobileNetV2", "data/weights/broken.weights.h5", "broken.weights.h5 does not hold the weights of MobileNetV2"),
        (
            "MobileNetV2",
            "data/weights/none.weights.h5",
            "data/weights/none.weights.h5 is not there: put a weights file",
        ),
        (
            "MobileNetV2",
            "imagnet",
            "extract.weights is imagnet, but must be imagenet, random, a path below data/weights",
        ),
        ("MobileNetV2", "data/weights/../x.h5", "must be imagenet, random, a path below data/weights"),
        ("MobileNetV2", "data/weights/empty", "data/weights/empty must hold one model of Darkroom, but holds 0"),
        ("MobileNetV2", "data/weights/broken.keras", "broken.keras does not hold the weights of MobileNetV2"),
        ("MobileNetV2", "data/weights/other", "data/weights/other/model.json is not that of Darkroom's model"),
        ("MobileNetV2", "data/weights/torn", "data/weights/torn/model.json is not that of Darkroom's model"),
        ("MobileNetV2", "models:/nobody/1", r"models:/nobody/1 cannot be downloaded from MLflow at sqlite:"),
    ],
)
def test_what_does_not_fit_is_named(own, workspace, name, source, sentence):
    (workspace / "data/weights/broken.weights.h5").write_bytes(b"no weights")
    (workspace / "data/weights/broken.keras").write_bytes(b"no zip")
    for folder, said in (("empty", None), ("other", '{"format": "graph-model"}'), ("torn", "{")):
        (workspace / "data/weights" / folder).mkdir()
        if said:
            (workspace / "data/weights" / folder / "model.json").write_text(said)
    with pytest.raises(UserError, match=sentence) as error:
        filled(name, source)
    assert "\n" not in str(error.value)
    mlflow.set_tracking_uri(None)


def test_imagenet_weights_are_not_half_of_the_pre_processing(workspace, monkeypatch):
    """Keras' EfficientNetB0 has one layer more where it is asked for ImageNet's weights, and it normalises."""
    first = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    scale = first.get_layer("normalization")
    scale.set_weights([np.array([0.485, 0.456, 0.406]), np.array([0.05, 0.04, 0.06]), *scale.get_weights()[2:]])
    first.save_weights(workspace / "own.weights.h5")
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(workspace / "own.weights.h5"))
    keras_own = keras.applications.EfficientNetB0(include_top=False, weights="imagenet", input_shape=(32, 32, 3))
    ours = keras_apps.network("EfficientNetB0", (32, 32))
    weights.fill(ours, "EfficientNetB0", "imagenet")
    ours.save_weights(workspace / "again.weights.h5")
    again = keras_apps.network("EfficientNetB0", (32, 32))
    again.load_weights(workspace / "again.weights.h5")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)

    def stem(network):
        return keras.Model(network.input, network.get_layer("stem_conv").output)(pixels).numpy()

    for network in (ours, again):
        assert np.abs(stem(network) - stem(keras_own)).max() < 1e-4 * np.abs(stem(keras_own)).max()


def test_a_network_goes_on_from_an_earlier_model(tuning):
    """Fine-tuned on three classes, then features of that very network for other ones."""
    model, _, _ = tuned(extracted(), tuning / "data/weights/three")
    said = extracted(weights="data/weights/three", layers=["block5_pool"])
    assert said.weights == "data/weights/three"
    network = keras_apps.network("VGG16", (32, 32))
    network.load_weights(tuning / "data/features/backbone.weights.h5")
    start = keras_apps.network("VGG16", (32, 32))
    weights.fill(start, "VGG16", "imagenet")
    for layer, changed in (("block3_conv3", False), ("block4_conv1", True), ("block5_conv3", True)):
        ours, earlier = network.get_layer(layer).get_weights()[0], model.backbone.get_layer(layer).get_weights()[0]
        assert (ours == earlier).all()
        assert (ours != start.get_layer(layer).get_weights()[0]).any() == changed
    with pytest.raises(UserError, match=r"data/weights/three is a VGG16: set extract\.backbone to it"):
        extracted(backbone="MobileNetV2", weights="data/weights/three", layers=["out_relu"])


def test_a_model_in_mlflow_is_an_earlier_model(project, tmp_path, monkeypatch):
    """By the run's address, by the model's, and by the name and alias under which it is registered."""
    from darkroom.tracking import pipeline_log

    folder = tmp_path / "copy"
    shutil.copytree(project, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run("python", "-m", "stages.track", cwd=folder)
    pipeline_log.log_export("fashion")
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (logged_run,) = client.search_runs([client.get_experiment_by_name("darkroom").experiment_id])
    client.create_registered_model("own")
    version = client.create_model_version("own", f"runs:/{logged_run.info.run_id}/model", logged_run.info.run_id)
    client.set_registered_model_alias("own", "candidate", version.version)
    expected = keras_apps.network("VGG16", (32, 32))
    expected.load_weights(folder / "models/backbone.weights.h5")
    for address in (f"runs:/{logged_run.info.run_id}/model", "models:/own@candidate", f"models:/own/{version.version}"):
        for ours, theirs in zip(filled("VGG16", address), expected.get_weights(), strict=True):
            assert (ours == theirs).all(), address
    mlflow.set_tracking_uri(None)


def test_a_change_below_data_weights_is_noticed(project, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(project, folder, symlinks=True)
    (folder / "data/weights/another").mkdir(parents=True)
    (folder / "data/weights/another/file.h5").write_bytes(b"weights")
    assert "data/weights" in run("dvc", "status", "extract", cwd=folder).stdout
    assert run("git", "status", "--porcelain", cwd=folder).stdout == ""  # and git is not offered it
