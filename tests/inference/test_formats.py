"""Every head, network and format on real pictures: exports against Keras, and what is refused."""

import dataclasses
import errno
import json
import os
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from PIL import Image

from darkroom.backbones import keras_apps
from darkroom.core.errors import UserError
from darkroom.core.hashing import sha256
from darkroom.core.model_spec import BackboneSpec
from darkroom.export.conversion import Conversion
from darkroom.images.decode import decode
from darkroom.inference import formats
from darkroom.inference.formats import FORMATS
from darkroom.inference.formats.base import EXACT, Gate
from darkroom.models import heads, networks
from darkroom.models.classifier import Classifier
from darkroom.models.inputs import Held, Inputs
from darkroom.train.features import fit_head
from tests.helpers.project import ROOT, run
from tests.helpers.training import head_params, model_spec, session

pytestmark = pytest.mark.usefixtures("tensorflow")

# Shapes of batches: the smallest picture there is, the original size, wide and narrow.
SHAPES = [(1, 1, 1), (7, 28, 28), (1, 3, 640), (2, 90, 61)]
NAMES = ["Bag", "a|b *c* <d>", 'ß "é" 犬']


class Rows(Inputs):
    """Names and labels of pictures."""

    def rows(self, selection=slice(None)):
        raise NotImplementedError


@pytest.fixture(scope="module")
def some(pictures):
    """60 real pictures of three classes as pixels, and their labels with difficult names."""
    chosen = [pictures[start + number] for number in range(20) for start in (60, 120, 300)]
    names = dict(zip(sorted({path.parent.name for path in chosen}), NAMES, strict=True))
    return [decode(path) for path in chosen], [names[path.parent.name] for path in chosen]


@cache
def network_of(name, size):
    """A backbone with random weights."""
    keras.utils.set_random_seed(3)
    return keras_apps.network(name, (size, size))


def on_features(some, name="VGG16", size=32, layers=("block2_pool",), prepare=None, sigmoid=False, **head):
    """A head, fitted to real features of a backbone with random weights; with `sigmoid` for two classes."""
    pixels, labels = some
    if sigmoid:
        both = [row for row, label in enumerate(labels) if label != NAMES[0]]
        pixels, labels, head = [pixels[row] for row in both], [labels[row] for row in both], {"output": "sigmoid"}
    network = network_of(name, size)
    features = keras_apps.feature_extractor(network, name, (size, size), list(layers), "avg")(np.stack(pixels))
    rows = np.concatenate([features[layer].numpy() for layer in layers], axis=1)
    like = Rows([str(number) for number in range(len(pixels))], labels)
    half, classes = len(pixels) // 2, sorted(set(labels))
    train, val = (Held(rows[part], like, part) for part in (slice(None, half), slice(half, None)))
    params = head_params(head={"prepare": prepare, **head})
    settings, fitted, _ = fit_head(params, train, val, classes, session())
    backbone = BackboneSpec(backbone=name, image_size=(size, size), pooling="avg")
    spec = model_spec(settings, classes, backbone=backbone, layers=tuple(layers), temperature=1.3)
    model = Classifier(spec, fitted, None)
    model.__dict__["backbone"] = network  # in place of a weights file
    return model.whole(), classes


def from_scratch(some, name, color="rgb", activation=None):
    """A network from scratch whose batch norm has seen real pictures."""
    keras.utils.set_random_seed(5)
    settings = {"name": name, "image_size": [28, 28], "color": color, "activation": activation}
    network = networks.build(settings, 3)
    network(np.stack(some[0]).astype(np.float32), training=True)
    return Classifier(model_spec(settings, NAMES, temperature=1.3), network, None).whole(), NAMES


ALL = ("keras", "saved_model", "onnx", "litert", "litert_int8")
# Name: the model, its formats, and whether `make test` has it. Together with tests/pipeline/test_modes.py, every format
# sees a head that counts votes, one that does not, and a network.
MODELS = {
    "dense": (
        lambda some: on_features(some, type="dense", activation="leaky_relu", batch_norm=True),
        ("keras", "litert_int8"), True,
    ),
    "logistic": (lambda some: on_features(some, type="logistic"), ("saved_model",), True),
    "linear_svm": (lambda some: on_features(some, type="linear_svm"), ("onnx",), True),
    "rbf_svm": (lambda some: on_features(some, type="rbf_svm"), ("litert",), True),
    "knn": (lambda some: on_features(some, type="knn", neighbours=[5]), ("litert", "onnx"), True),
    "tree": (lambda some: on_features(some, type="tree"), ("keras", "litert_int8"), True),
    "forest": (lambda some: on_features(some, type="forest", trees=[10]), ("saved_model",), True),
    "sigmoid": (lambda some: on_features(some, sigmoid=True), ("onnx", "litert_int8"), True),
    "small_resnet": (lambda some: from_scratch(some, "small_resnet"), ("onnx", "litert"), True),
    "two layers": (
        lambda some: on_features(some, layers=("block1_pool", "block2_pool"), prepare=["each", "l2"]), ALL, False,
    ),
    "mini_vggnet": (lambda some: from_scratch(some, "mini_vggnet"), ALL, False),
    "fashion_cnn": (lambda some: from_scratch(some, "fashion_cnn", "grey", "leaky_relu"), ALL, False),
    "ResNet50": (
        lambda some: on_features(some, "ResNet50", layers=("conv3_block4_out",), type="logistic"), ALL, False,
    ),
    "InceptionV3": (lambda some: on_features(some, "InceptionV3", 75, ("mixed1",), type="rbf_svm"), ALL, False),
    "Xception": (lambda some: on_features(some, "Xception", 71, ("block4_pool",), type="logistic"), ALL, False),
    "MobileNetV2": (
        lambda some: on_features(some, "MobileNetV2", layers=("block_6_expand",), type="logistic"), ALL, False,
    ),
    "EfficientNetV2B0": (
        lambda some: on_features(some, "EfficientNetV2B0", layers=("block4a_expand_activation",)), ALL, False,
    ),
    "ConvNeXtTiny": (
        lambda some: on_features(some, "ConvNeXtTiny", layers=("convnext_tiny_stage_1_block_0_identity",)), ALL, False,
    ),
}  # fmt: skip


def test_every_format_has_heads_of_both_kinds():
    """A new format or head needs a place in the table."""
    assert set(ALL) == set(FORMATS)
    assert set(heads.registered()) <= set(MODELS)
    for name in FORMATS:
        votes = {heads.counts_votes(head) for head in heads.registered() if name in MODELS[head][1]}
        assert votes == {True, False}, name


def batches(pixels):
    """Real pictures in batches of every shape."""
    for count, height, width in SHAPES:
        yield np.stack([np.asarray(Image.fromarray(picture).resize((width, height))) for picture in pixels[:count]])


LONG = ("ResNet50", "InceptionV3", "Xception", "ConvNeXtTiny")


def marks(name):
    """A row that takes seconds is for `make test`."""
    return [*([] if MODELS[name][2] else [pytest.mark.full]), *([pytest.mark.table] if name in LONG else [])]


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in MODELS])
def test_every_format_agrees_with_keras(some, tmp_path, name):
    make, kinds, _ = MODELS[name]
    whole, classes = make(some)
    conversion = Conversion(whole, classes)
    inputs = [*batches(some[0]), np.stack(some[0])]
    outputs = [whole(pixels).numpy() for pixels in inputs]
    for kind in kinds:
        exported = formats.load(conversion.write(FORMATS[kind], tmp_path), trust=kind == "saved_model")
        assert [path.name for path in tmp_path.iterdir() if path.name == FORMATS[kind].file], kind
        assert exported.classes == classes, kind
        load_halves = FORMATS[kind].halves
        halves = load_halves(tmp_path / FORMATS[kind].file) if load_halves else None
        for pixels, expected in zip(inputs, outputs, strict=True):
            given = exported.probabilities(pixels)
            assert given.shape == expected.shape == (len(pixels), len(classes)), kind
            assert given.dtype == np.float32, kind
            assert np.abs(given.sum(axis=1) - 1).max() < 1e-5, kind
            if FORMATS[kind].gate == EXACT and len(pixels) < len(some[0]):
                assert np.abs(given - expected).max() < 1e-4, kind
            if halves:
                assert np.abs(halves.probabilities(halves.features(pixels)) - given).max() < 1e-4, kind
        same = given.argmax(axis=1) == expected.argmax(axis=1)  # the last batch: all pictures
        assert same.mean() >= (1 if FORMATS[kind].gate == EXACT else 0.7), kind


@pytest.fixture(scope="module")
def small(some, tmp_path_factory):
    """A folder with a small model in every format, and the model."""
    folder = tmp_path_factory.mktemp("exports")
    whole, classes = from_scratch(some, "dense", "grey")
    conversion = Conversion(whole, classes)
    for registered in FORMATS.values():
        conversion.write(registered, folder)
    return folder, whole


def test_a_failure_in_one_of_the_optimizers_of_tf2onnx_is_survived(small, some, tmp_path, monkeypatch):
    from tf2onnx.optimizer.einsum_optimizer import EinsumOptimizer

    def fail(*_):
        raise ValueError("a case that it does not expect")

    monkeypatch.setattr(EinsumOptimizer, "_optimize", fail)
    path = Conversion(small[1], ["a", "b", "c"]).write(FORMATS["onnx"], tmp_path)
    pixels = next(batches(some[0]))
    assert np.abs(formats.load(path).probabilities(pixels) - small[1](pixels).numpy()).max() < 1e-4


def test_keras_can_train_its_format_further(small, some):
    model = keras.models.load_model(small[0] / "model.keras")
    before = [weights.numpy() for weights in model.trainable_weights]
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    model.train_on_batch(np.stack(some[0][:6]), np.arange(6) % 3)
    assert before
    assert all((old != new.numpy()).any() for old, new in zip(before, model.trainable_weights, strict=True))


def test_names_that_other_programs_see(small):
    """Plain runtimes, without this project's code."""
    from ai_edge_litert.interpreter import Interpreter

    folder = small[0]
    model = onnx.load(folder / "model.onnx")

    def shapes(values):
        return [
            (value.name, [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim])
            for value in values
        ]

    assert shapes(model.graph.input) == [("pixels", ["batch", "height", "width", 3])]
    assert shapes(model.graph.output) == [("probabilities", ["batch", 3])]
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert {entry.key: json.loads(entry.value) for entry in model.metadata_props} == {"classes": NAMES}
    for file in ("model.tflite", "model_int8.tflite"):
        interpreter = Interpreter(str(folder / file))
        assert interpreter.get_signature_list() == {
            "serving_default": {"inputs": ["pixels"], "outputs": ["probabilities"]}
        }
        [pixels], [probabilities] = interpreter.get_input_details(), interpreter.get_output_details()
        assert (pixels["name"], pixels["dtype"], probabilities["name"]) == ("pixels", np.uint8, "probabilities")
        assert pixels["shape_signature"].tolist() == [-1, -1, -1, 3]
        with zipfile.ZipFile(folder / file) as archive:
            assert archive.namelist() == ["labels.txt"]
    assert (folder / "model_int8.tflite").stat().st_size < 0.3 * (folder / "model.tflite").stat().st_size


def test_onnx_and_litert_are_loaded_silently_and_without_tensorflow(small):
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from darkroom.inference import formats\n"
        "for name in ('model.onnx', 'model.tflite', 'model_int8.tflite'):\n"
        "    exported = formats.load(Path(sys.argv[1]) / name, trust=True)\n"
        "    for side in (5, 30):\n"
        "        assert exported.probabilities(np.zeros((2, side, 9, 3), np.uint8)).shape == (2, 3)\n"
        "print(sorted({'tensorflow', 'keras', 'onnx', 'tf2onnx'} & set(sys.modules)))"
    )
    done = run(sys.executable, "-c", code, str(small[0]), cwd=ROOT)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.full
def test_another_process_writes_the_same_bytes(tmp_path):
    """Python orders sets differently in each process; Keras' files would hold the date, TensorFlow's a random id."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from darkroom.core import runtime\n"
        "runtime.prepare(1)\n"
        "from darkroom.export.conversion import Conversion\n"
        "from darkroom.inference.formats import FORMATS\n"
        "from tests.helpers.training import untrained\n"
        "conversion = Conversion(untrained('small_resnet').whole(), ['a', 'b', 'c'])\n"
        "for registered in FORMATS.values():\n"
        "    conversion.write(registered, Path(sys.argv[1]))\n"
    )
    digests = []
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        run(sys.executable, "-c", code, str(tmp_path / seed), cwd=ROOT, PYTHONHASHSEED=seed)
        files = sorted(path for path in (tmp_path / seed).rglob("*") if path.is_file())
        digests.append({path.relative_to(tmp_path / seed): sha256(path) for path in files})
    assert {path.parts[0] for path in digests[0]} == {registered.file for registered in FORMATS.values()}
    assert digests[0] == digests[1]


def test_threads_share_a_loaded_model(small, some):
    for file in ("model.onnx", "model.tflite"):
        exported = formats.load(small[0] / file, trust=True)
        inputs = [pixels for _ in range(5) for pixels in batches(some[0])]
        alone = [exported.probabilities(pixels) for pixels in inputs]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(exported.probabilities, inputs))
        assert all((first == second).all() for first, second in zip(alone, together, strict=True)), file


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("left", [0, 3, 2000, 0.5, 0.99])
def test_a_truncated_file_is_refused(small, tmp_path, name, left):
    source = small[0] / FORMATS[name].file
    target = tmp_path / source.name
    cut = source / "saved_model.pb" if name == "saved_model" else source
    content = cut.read_bytes()
    content = content[: int(left * len(content)) if isinstance(left, float) else left]
    if name == "saved_model":
        target.mkdir()
        target = target / cut.name
    target.write_bytes(content)
    with pytest.raises(UserError, match=rf"{source.name} is (damaged or )?not a model exported by Darkroom"):
        formats.load(tmp_path / source.name, trust=True)


def test_a_foreign_model_is_refused(small, pictures, tmp_path):
    foreign = tmp_path / "model.onnx"
    model = onnx.load(small[0] / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, foreign)
    with pytest.raises(UserError, match=r"model.onnx is damaged or not a model exported by Darkroom \(.*classes"):
        formats.load(foreign, trust=True)
    onnx.helper.set_model_props(model, {"classes": json.dumps(["only", "two"])})
    onnx.save(model, foreign)
    with pytest.raises(UserError, match="3 probabilities, but 2 class names"):
        formats.load(foreign, trust=True)
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    plain.save(tmp_path / "model.keras")
    with pytest.raises(UserError, match=r"model.keras is damaged or not a model exported by Darkroom"):
        formats.load(tmp_path / "model.keras", trust=True)
    for path in (pictures[0], tmp_path):
        with pytest.raises(UserError, match=r"is not a model exported by Darkroom: it should be one of model\.keras"):
            formats.load(path, trust=True)
    with pytest.raises(UserError, match=r"there is no model at .*gone\.onnx: run `dvc repro`"):
        formats.load(tmp_path / "gone.onnx", trust=True)


def test_the_quickest_export_is_located(small, tmp_path):
    with pytest.raises(
        UserError, match=r"holds no exported model \(model.onnx, model.tflite, saved_model, .*dvc repro"
    ):
        formats.locate(tmp_path)
    for name in ("litert_int8", "keras", "saved_model", "litert", "onnx"):
        (tmp_path / FORMATS[name].file).write_text("")
        assert formats.quickest(tmp_path) == FORMATS[name]
        assert formats.locate(tmp_path) == tmp_path / FORMATS[name].file
    for registered in FORMATS.values():
        assert formats.locate(small[0] / registered.file) == small[0] / registered.file
    assert formats.locate(tmp_path / "gone") == tmp_path / "gone"


def test_formats_are_listed_in_one_order():
    """That of messages, tables and reports, whichever module is imported first."""
    assert tuple(FORMATS) == ALL
    assert [registered.name for registered in FORMATS.values()] == list(ALL)
    assert len({registered.preference for registered in FORMATS.values()}) == len(FORMATS)
    assert Gate(0.5, 1).loosened(Gate(1, 0.8)) == Gate(0.5, 0.8)


def test_exports_are_loaded_in_float32(small):
    """Not in TF32, which GPUs would use instead."""
    experimental = tf.config.experimental
    for file in ("model.keras", "saved_model"):
        experimental.enable_tensor_float_32_execution(True)
        formats.load(small[0] / file, trust=True)
        assert not experimental.tensor_float_32_execution_enabled()


def test_any_class_name_is_restored(small, tmp_path):
    """Unicode and control characters end lines for Python, not for LiteRT."""
    odd = ["a\u2028b", "c\x0bd\x85", "e\r"]
    conversion = Conversion(small[1], odd)
    assert formats.load(conversion.write(FORMATS["litert"], tmp_path), trust=True).classes == odd
    conversion.classes = ["a\nb", "c", "d"]
    with pytest.raises(UserError, match=r"converted to litert \(a class name has a line break.*remove the format"):
        conversion.write(FORMATS["litert"], tmp_path)
    assert formats.load(conversion.write(FORMATS["onnx"], tmp_path), trust=True).classes[0] == "a\nb"


def test_a_full_disk_is_not_the_fault_of_a_format_or_a_file(small, tmp_path):
    def full(*_):
        raise RuntimeError("the converter failed") from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    broken = dataclasses.replace(FORMATS["onnx"], write=full, load=full)
    with pytest.raises(RuntimeError):
        Conversion(small[1], ["a", "b", "c"]).write(broken, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FORMATS, "onnx", broken)
        with pytest.raises(RuntimeError):
            formats.load(small[0] / "model.onnx")
