"""Sources of weights: Keras, a mirror, a file, the folder of a model trained earlier, a model in MLflow."""

import pickle
import zipfile

import h5py
import keras
import mlflow
import numpy as np
import pytest

from darkroom.backbones import keras_apps, vgg16_mirror, weights
from darkroom.core.errors import UserError
from darkroom.core.hashing import arrays_sha256
from darkroom.tracking import pipeline_log, store
from tests.helpers import hostile
from tests.helpers.backbones import vgg16_weights
from tests.helpers.project import inside
from tests.helpers.stores import new_store
from tests.helpers.training import extracted, tuned

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.fixture
def own(workspace):
    """A network with weights of its own, which lie below data/weights in two forms."""
    (workspace / "data/weights").mkdir(parents=True)
    keras.utils.set_random_seed(5)
    backbone = keras_apps.network("MobileNetV2", (32, 32))
    backbone.save_weights(workspace / "data/weights/own.weights.h5")
    backbone.save(workspace / "data/weights/own.keras")
    return backbone


def loaded(name, source):
    """The weights of a new network with weights from a source."""
    keras.utils.set_random_seed(1)
    backbone = keras_apps.network(name, (32, 32))
    weights.load(backbone, name, source, store.download)
    return backbone.get_weights()


def test_vgg16_weights_are_imagenets():
    """First values of the ImageNet model as they are published."""
    arrays = vgg16_weights()
    assert arrays[0].ravel()[0] == np.float32(0.42947057)
    assert arrays[1].ravel()[0] == np.float32(0.73429835)
    assert arrays[-2].ravel()[0] == np.float32(0.00040788297)
    assert arrays[-1].ravel()[0] == np.float32(0.18837857)
    assert arrays_sha256(arrays) == vgg16_mirror.ARRAYS_SHA256


def test_keras_own_weights_come_first(tmp_path, monkeypatch):
    """Where Keras has the file, in its cache or from its host, no mirror is asked."""
    arrays = vgg16_weights()
    original = keras.applications.VGG16(include_top=False, weights=None)
    original.set_weights([array * 2 for array in arrays])
    original.save_weights(tmp_path / "keras.weights.h5")
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(tmp_path / "keras.weights.h5"))
    monkeypatch.setattr(vgg16_mirror, "arrays", lambda folder: pytest.fail("a mirror was asked"))
    assert (loaded("VGG16", "imagenet")[0] == arrays[0] * 2).all()


def test_weights_that_cannot_be_downloaded_are_named(monkeypatch):
    def fails(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fails)
    with pytest.raises(UserError, match=r"weights of MobileNetV2 cannot be downloaded \(no route to host\): set"):
        loaded("MobileNetV2", "imagenet")


def test_a_file_of_weights(own):
    for file in ("own.weights.h5", "own.keras"):
        for array, expected in zip(loaded("MobileNetV2", f"data/weights/{file}"), own.get_weights(), strict=True):
            assert (array == expected).all(), file


def test_unsuitable_sources_are_named(own, workspace):
    new_store(workspace / "mlflow.db")
    folder = workspace / "data/weights"
    (folder / "broken.weights.h5").write_bytes(b"no weights")
    (folder / "broken.keras").write_bytes(b"no zip")
    for name, spec in (("empty", None), ("other", '{"format": "graph-model"}'), ("torn", "{")):
        (folder / name).mkdir()
        if spec:
            (folder / name / "model.json").write_text(spec)
    networks = {name: keras_apps.network(name, (32, 32)) for name in ("VGG16", "MobileNetV2")}
    for name, source, sentence in (
        ("VGG16", "data/weights/own.weights.h5", r"own\.weights\.h5 does not hold the weights of VGG16"),
        ("MobileNetV2", "data/weights/broken.weights.h5", r"broken\.weights\.h5 does not hold the weights of Mobile"),
        ("MobileNetV2", "data/weights/broken.keras", r"broken\.keras does not hold the weights of MobileNetV2"),
        (
            "MobileNetV2",
            "data/weights/none.weights.h5",
            r"data/weights/none\.weights\.h5 does not exist: put a",
        ),
        ("MobileNetV2", "imagnet", r"extract\.weights is imagnet, but must be imagenet, random, a path below data/wei"),
        ("MobileNetV2", "data/weights/../x.h5", r"must be imagenet, random, a path below data/weights"),
        ("MobileNetV2", "data/weights/empty", r"data/weights/empty must hold one Darkroom model, but holds 0"),
        (
            "MobileNetV2",
            "data/weights/other",
            r"other/model\.json is not the specification of a Darkroom model",
        ),
        ("MobileNetV2", "data/weights/torn", r"torn/model\.json is not the specification of a Darkroom model"),
        ("MobileNetV2", "models:/nobody/1", r"models:/nobody/1 cannot be downloaded from MLflow at sqlite:"),
    ):
        with pytest.raises(UserError, match=sentence) as error:
            weights.load(networks[name], name, source, store.download)
        assert "\n" not in str(error.value)
    mlflow.set_tracking_uri(None)


def test_imagenet_weights_include_all_of_the_pre_processing(workspace, monkeypatch):
    """Keras' EfficientNetB0 has one more layer if it is built with ImageNet's weights, and that one normalises."""
    original = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    scale = original.get_layer("normalization")
    scale.set_weights([np.array([0.485, 0.456, 0.406]), np.array([0.05, 0.04, 0.06]), *scale.get_weights()[2:]])
    original.save_weights(workspace / "own.weights.h5")
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(workspace / "own.weights.h5"))
    keras_own = keras.applications.EfficientNetB0(include_top=False, weights="imagenet", input_shape=(32, 32, 3))
    ours = keras_apps.network("EfficientNetB0", (32, 32))
    weights.load(ours, "EfficientNetB0", "imagenet", store.download)
    ours.save_weights(workspace / "again.weights.h5")
    again = keras_apps.network("EfficientNetB0", (32, 32))
    again.load_weights(workspace / "again.weights.h5")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)

    def stem(network):
        return keras.Model(network.input, network.get_layer("stem_conv").output)(pixels).numpy()

    expected = stem(keras_own)
    for network in (ours, again):
        assert np.abs(stem(network) - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.full
def test_a_network_continues_from_an_earlier_model(tuning):
    """Fine-tuned on three classes, then features of that very network for others."""
    model = tuned(extracted(), tuning / "data/weights/three").model
    assert extracted(weights="data/weights/three", layers=["block5_pool"]).weights == "data/weights/three"
    backbone, original = (keras_apps.network("VGG16", (32, 32)) for _ in range(2))
    backbone.load_weights(tuning / "data/features/backbone.weights.h5")
    original.set_weights(vgg16_weights())
    for layer, changed in (("block3_conv3", False), ("block4_conv1", True), ("block5_conv3", True)):
        kernel = backbone.get_layer(layer).get_weights()[0]
        assert (kernel == model.backbone.get_layer(layer).get_weights()[0]).all()
        assert (kernel != original.get_layer(layer).get_weights()[0]).any() == changed
    with pytest.raises(UserError, match=r"data/weights/three is a VGG16: set extract\.backbone to it"):
        extracted(backbone="MobileNetV2", weights="data/weights/three", layers=["out_relu"])


def test_a_model_in_mlflow_is_an_earlier_model(project, tmp_path):
    """By the run's address, by the model's, and by the name and alias under which it is registered."""
    with inside(project, tmp_path / "copy") as folder:
        pipeline_log.log_export("fashion")
        client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
        (run,) = client.search_runs([client.get_experiment_by_name("darkroom").experiment_id])
        client.create_registered_model("own")
        version = client.create_model_version("own", f"runs:/{run.info.run_id}/model", run.info.run_id)
        client.set_registered_model_alias("own", "candidate", version.version)
        expected = keras_apps.network("VGG16", (32, 32))
        expected.load_weights(folder / "models/backbone.weights.h5")
        addresses = f"runs:/{run.info.run_id}/model", "models:/own@candidate", f"models:/own/{version.version}"
        for address in addresses:
            for array, original in zip(loaded("VGG16", address), expected.get_weights(), strict=True):
                assert (array == original).all(), address


def refers_elsewhere(path, how):
    """Change a weights file so that an array comes from another file, or has a size that it does not hold."""
    with h5py.File(path, "r+") as file:
        arrays = []
        file.visititems(lambda name, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
        item = max(arrays, key=lambda array: array.size)
        group, name, shape = item.parent, item.name.rpartition("/")[2], item.shape
        del group[name]
        if how == "a link":
            group[name] = h5py.ExternalLink("secret.h5", "/secret")
        elif how == "raw data":
            group.create_dataset(name, shape, "f4", external=[("secret.bin", 0, h5py.h5f.UNLIMITED)])
        elif how == "a virtual array":
            layout = h5py.VirtualLayout(shape, "f4")
            layout[:] = h5py.VirtualSource("secret.h5", "secret", shape)
            group.create_virtual_dataset(name, layout)
        else:
            group.create_dataset(name, (10**6, 10**6), "f4", chunks=(1000, 1000))


@pytest.mark.full
@pytest.mark.parametrize("how", ["a link", "raw data", "a virtual array", "a size of terabytes"])
def test_weights_that_come_from_elsewhere_are_refused(own, workspace, monkeypatch, how):
    """Otherwise a weights file could copy any file into a model that its user shares."""
    path = workspace / "data/weights/own.weights.h5"
    np.zeros(10**6, np.float32).tofile(workspace / "data/weights/secret.bin")
    refers_elsewhere(path, how)
    monkeypatch.chdir(workspace)
    with pytest.raises(UserError, match="does not hold the weights of MobileNetV2"):
        loaded("MobileNetV2", "data/weights/own.weights.h5")


@pytest.mark.full
def test_code_in_a_whole_model_is_not_run(own, workspace):
    """Of a file of Keras' older format or of a .keras file, only the arrays are read."""
    marker, folder = workspace / "marker", workspace / "data/weights"
    hostile.weights_with_code(folder / "whole.h5", marker)
    with pytest.raises(UserError, match="does not hold the weights"):
        loaded("MobileNetV2", "data/weights/whole.h5")
    with zipfile.ZipFile(hostile.keras_with_a_lambda(workspace, marker)) as source:
        code = source.read("config.json")
    with zipfile.ZipFile(folder / "own.keras") as source, zipfile.ZipFile(folder / "mixed.keras", "w") as target:
        for name in source.namelist():
            target.writestr(name, code if name == "config.json" else source.read(name))
    for array, expected in zip(loaded("MobileNetV2", "data/weights/mixed.keras"), own.get_weights(), strict=True):
        assert (array == expected).all()
    (folder / "pickled.weights.h5").write_bytes(pickle.dumps(hostile.Pickled(marker)))
    with pytest.raises(UserError, match="does not hold the weights"):
        loaded("MobileNetV2", "data/weights/pickled.weights.h5")
    assert not marker.exists()
