"""Every mode and head in every format, on real pictures: what each says against what Keras says."""

import json
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from PIL import Image

from darkroom.backbones import keras_apps
from darkroom.core.errors import UserError
from darkroom.core.hashing import sha256
from darkroom.export import conversion
from darkroom.export.conversion import Conversion
from darkroom.images.decode import decode
from darkroom.inference import formats
from darkroom.models import networks
from darkroom.models.classifier import Classifier
from darkroom.models.inputs import Held, Inputs
from stages import train
from tests.helpers.project import ROOT, run
from tests.helpers.training import session
from tests.train.test_train import params

# Shapes of batches: the smallest picture there is, as they are, wide and narrow.
SHAPES = [(1, 1, 1), (7, 28, 28), (1, 3, 640), (2, 90, 61)]
NAMES = ["Bag", "a|b *c* <d>", 'ß "é" 犬']


class Rows(Inputs):
    """Names and labels of pictures."""

    def rows(self, which=slice(None)):
        raise NotImplementedError


@pytest.fixture(scope="module")
def some(pictures):
    """60 real pictures of three classes as pixels, and their labels with names that make trouble."""
    chosen = [pictures[start + number] for number in range(20) for start in (60, 120, 300)]
    known = dict(zip(sorted({path.parent.name for path in chosen}), NAMES, strict=True))
    return [decode(path) for path in chosen], [known[path.parent.name] for path in chosen]


def whole_of(said, head, classes, network=None):
    settings = {"layers": [], "tuned": None, "features": None, "temperature": 1.3, "epoch": 1, "classes": classes}
    model = Classifier({**settings, **said, "head": said.get("head", {})}, head, None)
    if network:
        model.__dict__["network"] = network  # what a weights file would give
    return model.whole()


def on_features(some, name="VGG16", size=32, layers=("block2_pool",), prepare=None, sigmoid=False, **head):
    """A head, fitted to real features of a network with random weights; with `sigmoid` for two classes."""
    pixels, labels = some
    if sigmoid:
        both = [row for row, label in enumerate(labels) if label != NAMES[0]]
        pixels, labels, head = [pixels[row] for row in both], [labels[row] for row in both], {"output": "sigmoid"}
    keras.utils.set_random_seed(3)
    network = keras_apps.network(name, (size, size))
    body = keras_apps.body(network, name, (size, size), list(layers), "avg")
    features = body(np.stack(pixels))
    rows = np.concatenate([features[layer].numpy() for layer in layers], axis=1)
    like = Rows([str(number) for number in range(len(pixels))], labels)
    half, classes = len(pixels) // 2, sorted(set(labels))
    train_, val = (Held(rows[part], like, part) for part in (slice(None, half), slice(half, None)))
    settings, fitted, _ = train.fit_head(params(head={"prepare": prepare, **head}), train_, val, classes, session())
    said = {"backbone": {"backbone": name, "image_size": [size, size], "pooling": "avg"}, "layers": list(layers)}
    return whole_of({**said, "head": settings}, fitted, classes, network), classes


def from_scratch(some, name, color="rgb", activation=None):
    """A network from scratch, its batch norm acquainted with real pictures."""
    keras.utils.set_random_seed(5)
    network = networks.build({"name": name, "image_size": [28, 28], "color": color, "activation": activation}, 3)
    network(np.stack(some[0]).astype(np.float32), training=True)
    return whole_of({"backbone": {"backbone": None, "image_size": [28, 28]}}, network, NAMES), NAMES


# The other heads, ways and networks are in the table of tests/test_modes.py, which writes every format of each.
HEADS = {
    "dense": lambda some: on_features(some, type="dense", activation="leaky_relu", batch_norm=True),
    "sigmoid": lambda some: on_features(some, sigmoid=True),
    "two layers": lambda some: on_features(some, layers=("block1_pool", "block2_pool"), prepare=["each", "l2"]),
    "rbf_svm": lambda some: on_features(some, type="rbf_svm"),
    "knn": lambda some: on_features(some, type="knn", neighbours=[5]),
    "tree": lambda some: on_features(some, type="tree"),
    "forest": lambda some: on_features(some, type="forest", trees=[10]),
    "mini_vggnet": lambda some: from_scratch(some, "mini_vggnet"),
    "fashion_cnn": lambda some: from_scratch(some, "fashion_cnn", "grey", "leaky_relu"),
    "small_resnet": lambda some: from_scratch(some, "small_resnet"),
    "ResNet50": lambda some: on_features(some, "ResNet50", layers=("conv3_block4_out",), type="logistic"),
    "InceptionV3": lambda some: on_features(some, "InceptionV3", 75, ("mixed1",), type="rbf_svm"),
    "Xception": lambda some: on_features(some, "Xception", 71, ("block4_pool",), type="logistic"),
    "MobileNetV2": lambda some: on_features(some, "MobileNetV2", layers=("block_6_expand",), type="logistic"),
    "EfficientNetV2B0": lambda some: on_features(some, "EfficientNetV2B0", layers=("block4a_expand_activation",)),
    "ConvNeXtTiny": lambda some: on_features(some, "ConvNeXtTiny", layers=("convnext_tiny_stage_1_block_0_identity",)),
}
QUICK = ("sigmoid", "knn", "small_resnet")


def batches(pixels):
    """Real pictures in batches of every shape."""
    for count, height, width in SHAPES:
        yield np.stack([np.asarray(Image.fromarray(one).resize((width, height))) for one in pixels[:count]])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.full) for name in HEADS]
)
def test_every_format_says_what_keras_says(some, tmp_path, name):
    whole, classes = HEADS[name](some)
    writer = Conversion(whole, classes)
    for kind, file in formats.FILES.items():
        exported = formats.load(writer.write(kind, tmp_path))
        assert [path.name for path in tmp_path.iterdir() if path.name == file], kind
        assert exported.classes == classes, kind
        for pixels in batches(some[0]):
            expected, given = whole(pixels).numpy(), exported.probabilities(pixels)
            assert given.shape == expected.shape == (len(pixels), len(classes)), kind
            assert given.dtype == np.float32, kind
            assert np.abs(given.sum(axis=1) - 1).max() < 1e-5, kind
            if kind != "litert_int8":
                assert np.abs(given - expected).max() < 1e-4, kind
        real = np.stack(some[0])
        same = exported.probabilities(real).argmax(axis=1) == whole(real).numpy().argmax(axis=1)
        assert same.mean() >= (0.7 if kind == "litert_int8" else 1), kind


@pytest.fixture(scope="module")
def small(some, tmp_path_factory):
    """A folder with a small model in every format, and the model."""
    folder = tmp_path_factory.mktemp("exports")
    whole, classes = from_scratch(some, "dense", "grey")
    writer = Conversion(whole, classes)
    for kind in formats.FILES:
        writer.write(kind, folder)
    return folder, whole


def test_keras_can_train_it_on(small, some):
    model = keras.models.load_model(small[0] / "model.keras")
    before = [weights.numpy() for weights in model.trainable_weights]
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(np.stack(some[0][:6]), np.arange(6) % 3, verbose=0)
    assert before
    assert all((old != new.numpy()).any() for old, new in zip(before, model.trainable_weights, strict=True))


def test_names_that_other_programs_see(small):
    """Plain runtimes, without this project's code."""
    from ai_edge_litert.interpreter import Interpreter

    folder = small[0]
    model = onnx.load(folder / "model.onnx")
    inputs, outputs = ([(one.name, [size.dim_param or size.dim_value for size in one.type.tensor_type.shape.dim])
                        for one in values] for values in (model.graph.input, model.graph.output))  # fmt: skip
    assert inputs == [("pixels", ["batch", "height", "width", 3])]
    assert outputs == [("probabilities", ["batch", 3])]
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert {one.key: json.loads(one.value) for one in model.metadata_props} == {"classes": NAMES}
    for kind in ("litert", "litert_int8"):
        interpreter = Interpreter(str(folder / formats.FILES[kind]))
        assert interpreter.get_signature_list() == {
            "serving_default": {"inputs": ["pixels"], "outputs": ["probabilities"]}
        }
        [pixels], [probabilities] = interpreter.get_input_details(), interpreter.get_output_details()
        assert (pixels["name"], pixels["dtype"], probabilities["name"]) == ("pixels", np.uint8, "probabilities")
        assert pixels["shape_signature"].tolist() == [-1, -1, -1, 3]
        with zipfile.ZipFile(folder / formats.FILES[kind]) as archive:
            assert archive.namelist() == ["labels.txt"]
    sizes = {kind: (folder / formats.FILES[kind]).stat().st_size for kind in ("litert", "litert_int8")}
    assert sizes["litert_int8"] < 0.3 * sizes["litert"]


def test_onnx_and_litert_are_loaded_without_tensorflow_or_a_word(small):
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from stages.common.exports import formats\n"
        "for name in ('model.onnx', 'model.tflite', 'model_int8.tflite'):\n"
        "    exported = formats.load(Path(sys.argv[1]) / name)\n"
        "    for side in (5, 30):\n"
        "        assert exported.probabilities(np.zeros((2, side, 9, 3), np.uint8)).shape == (2, 3)\n"
        "print(sorted({'tensorflow', 'keras', 'onnx', 'tf2onnx'} & set(sys.modules)))"
    )
    done = run(sys.executable, "-c", code, str(small[0]), cwd=ROOT)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_another_process_writes_the_same_bytes(some, tmp_path):
    """Python orders sets differently in each process; Keras' files would hold the date, TensorFlow's a random id."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from stages.common import hardware\n"
        "from stages.common.exports import formats\n"
        "hardware.prepare(1)\n"
        "from stages.common.models import networks\n"
        "from stages.common.models.classifier import Classifier\n"
        "from stages.common.exports.conversion import Conversion\n"
        "settings = {'name': 'small_resnet', 'image_size': [28, 28], 'color': 'grey', 'activation': None}\n"
        "said = {'backbone': {'backbone': None, 'image_size': [28, 28]}, 'layers': [], 'tuned': None}\n"
        "said['temperature'] = 2.0\n"
        "writer = Conversion(Classifier(said, networks.build(settings, 3), None).whole(), ['a', 'b', 'c'])\n"
        "for kind in formats.FILES:\n"
        "    writer.write(kind, Path(sys.argv[1]))\n"
    )
    found = []
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        run(sys.executable, "-c", code, str(tmp_path / seed), cwd=ROOT, PYTHONHASHSEED=seed)
        files = sorted(path for path in (tmp_path / seed).rglob("*") if path.is_file())
        found.append({path.relative_to(tmp_path / seed): sha256(path) for path in files})
    assert {path.parts[0] for path in found[0]} == set(formats.FILES.values())
    assert found[0] == found[1]


def test_threads_share_a_loaded_model(small, some):
    for kind in ("onnx", "litert"):
        exported = formats.load(small[0] / formats.FILES[kind])
        inputs = [pixels for _ in range(5) for pixels in batches(some[0])]
        alone = [exported.probabilities(pixels) for pixels in inputs]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(exported.probabilities, inputs))
        assert all((one == other).all() for one, other in zip(alone, together, strict=True)), kind


@pytest.mark.parametrize("kind", formats.FILES)
@pytest.mark.parametrize("left", [0, 3, 2000, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_refused(small, tmp_path, kind, left):
    source = small[0] / formats.FILES[kind]
    target = tmp_path / source.name
    cut = source / "saved_model.pb" if kind == "saved_model" else source
    content = cut.read_bytes()
    content = content[: int(left * len(content)) if isinstance(left, float) else left]
    if kind == "saved_model":
        target.mkdir()
        target = target / cut.name
    target.write_bytes(content)
    with pytest.raises(UserError, match=rf"{source.name} is (damaged or )?not a model that Darkroom exported"):
        formats.load(tmp_path / source.name)


def test_what_is_no_export_is_refused(small, pictures, tmp_path):
    foreign = tmp_path / "model.onnx"
    model = onnx.load(small[0] / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, foreign)
    with pytest.raises(UserError, match=r"model.onnx is damaged or not a model that Darkroom exported \(.*classes"):
        formats.load(foreign)
    onnx.helper.set_model_props(model, {"classes": json.dumps(["only", "two"])})
    onnx.save(model, foreign)
    with pytest.raises(UserError, match="3 probabilities, but 2 class names"):
        formats.load(foreign)
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    plain.save(tmp_path / "model.keras")
    with pytest.raises(UserError, match=r"model.keras is damaged or not a model that Darkroom exported"):
        formats.load(tmp_path / "model.keras")
    for path in (pictures[0], tmp_path):
        with pytest.raises(UserError, match=r"is not a model that Darkroom exported: it should be one of model\.keras"):
            formats.load(path)
    with pytest.raises(UserError, match=r"there is no model at .*gone\.onnx: run `dvc repro`"):
        formats.load(tmp_path / "gone.onnx")


def test_the_quickest_export_is_located(tmp_path):
    with pytest.raises(
        UserError, match=r"holds no exported model \(model.onnx, model.tflite, saved_model, .*dvc repro"
    ):
        formats.locate(tmp_path)
    for kind in ("litert_int8", "keras", "saved_model", "litert", "onnx"):
        (tmp_path / formats.FILES[kind]).write_text("")
        assert formats.locate(tmp_path).name == formats.FILES[kind]


def test_a_model_that_is_too_large_for_a_format_is_refused_before_the_work(small, monkeypatch):
    conversion.refuse_too_large(list(formats.FILES), small[1], "this model")
    weights = sum(weight.numpy().nbytes for weight in small[1].weights)
    monkeypatch.setattr(conversion, "LARGEST", weights - 1)
    with pytest.raises(UserError, match=r"formats onnx, litert: .* of a knn head are .* GB: take them out, keras can"):
        conversion.refuse_too_large(["onnx", "keras", "litert"], small[1], "a knn head")
    conversion.refuse_too_large(["keras"], small[1], "a knn head")


def test_a_size_beyond_32_bits_is_seen():
    weight = SimpleNamespace(shape=(70_000, 70_000), dtype="float32")  # a knn head of so many pictures and values
    whole = SimpleNamespace(weights=[weight, SimpleNamespace(shape=(), dtype="int8")])
    with pytest.raises(UserError, match=r"the weights of it are 20 GB: take them out"):
        conversion.refuse_too_large(["onnx"], whole, "it")


def test_exports_are_made_and_used_in_float32(small):
    """Not in TF32, which GPUs would take for it."""
    said = tf.config.experimental
    for use in (
        lambda: Conversion(small[1], NAMES),
        lambda: formats.load(small[0] / "model.keras"),
        lambda: formats.load(small[0] / "saved_model"),
    ):
        said.enable_tensor_float_32_execution(True)
        use()
        assert not said.tensor_float_32_execution_enabled()


def test_any_name_of_a_class_comes_back(small, tmp_path):
    """Unicode and control characters end lines for Python, not for LiteRT."""
    odd = ["a\u2028b", "c\x0bd\x85", "e\r"]
    assert formats.load(Conversion(small[1], odd).write("litert", tmp_path)).classes == odd
    with pytest.raises(UserError, match=r"export.formats litert: .*a class name has a line break.*take it out"):
        Conversion(small[1], ["a\nb", "c", "d"]).write("litert", tmp_path)
    assert formats.load(Conversion(small[1], ["a\nb", "c", "d"]).write("onnx", tmp_path)).classes[0] == "a\nb"
