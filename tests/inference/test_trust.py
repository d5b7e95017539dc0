"""Exports of other people never execute anything by default."""

import ast
import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from darkroom.commands.page import command as page
from darkroom.commands.predict import command as predict
from darkroom.core.errors import UserError
from darkroom.core.files import write_json
from darkroom.core.hashing import PACKAGE, sha256
from darkroom.core.paths import EXPORT_REPORT
from darkroom.inference import digests, formats
from darkroom.inference.formats import FORMATS
from darkroom.inference.formats import keras as keras_format
from tests.helpers import hostile
from tests.helpers.project import ROOT

HARMLESS = ("keras_with_members_outside",)  # that is read, and what leads outside is ignored


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "marker"


@pytest.fixture
def made(tmp_path, marker, tensorflow):
    def make(writer):
        folder = tmp_path / "theirs"
        folder.mkdir()
        return writer(folder, marker)

    return make


@pytest.mark.parametrize("writer", hostile.EXPORTS, ids=lambda writer: writer.__name__)
def test_no_export_executes_anything_by_default(made, marker, writer, workspace, pictures, capsys):
    path = made(writer)
    assert not marker.exists()
    for model in (path, path.parent):  # by its name, and found in its folder
        arguments = {"paths": [str(pictures[0])], "form": "table", "top": 1, "network": None, "trust": False}
        if writer.__name__ in HARMLESS:
            predict.main(model=model, **arguments)
        else:
            with pytest.raises(UserError) as raised:
                predict.main(model=model, **arguments)
            assert "\n" not in str(raised.value)
            assert len(str(raised.value)) < 600
    assert not marker.exists()


@pytest.mark.parametrize(
    "writer", [hostile.saved_model_that_writes, hostile.saved_model_that_writes_when_opened], ids=lambda w: w.__name__
)
def test_they_do_if_they_are_trusted(made, marker, writer):
    """So the marker would appear."""
    path = made(writer)
    with pytest.raises(UserError, match=r"was not exported by this project .*replace your files .*add --trust only if"):
        formats.load(path)
    formats.load(path, trust=True)
    assert marker.exists()


def test_a_page_opens_only_what_is_trusted(made, marker):
    path = made(hostile.saved_model_that_writes_when_opened)
    with pytest.raises(UserError, match="add --trust only if"):
        page.main(path, trust=False, port=0)
    assert not marker.exists()


def test_own_exports_need_no_trust_and_others_do(workspace, made):
    """Digests that come with a foreign export vouch for its bytes, not for who made it."""
    path = made(hostile.saved_model_that_writes)
    digests.write(path.parent)
    with pytest.raises(UserError, match="was not exported by this project"):
        formats.load(path)
    Path("exports").symlink_to(path.parent)
    for report in ({}, {"sums_sha256": ""}, {"sums_sha256": 0}, []):  # of another export, or none
        write_json(EXPORT_REPORT, report)
        with pytest.raises(UserError, match=r"was not exported by this project \(by reports/export.json\)"):
            formats.load(Path("exports/saved_model"))
    write_json(EXPORT_REPORT, {"sums_sha256": sha256(Path("exports/SHA256SUMS"))})
    assert formats.load(Path("exports/saved_model")).classes == ["a", "b"]
    Path("exports").unlink()
    Path("exports").mkdir()
    Path("exports/saved_model").symlink_to(path)  # only the link is ours
    digests.write(Path("exports"))
    with pytest.raises(UserError, match="does not match the SHA256SUMS"):
        formats.load(Path("exports/saved_model"))
    Path("exports/saved_model").unlink()
    shutil.copytree(path, "exports/saved_model")
    with pytest.raises(UserError, match="does not match the SHA256SUMS"):
        formats.load(Path("exports/saved_model"))


NO_CLASSES = ("a", {"a": 0, "b": 1}, [0, 1], [["a"], "b"], None, ["a", "\ud800"], ["a"], ["x"] * 10**6)


@pytest.mark.parametrize("names", NO_CLASSES, ids=lambda names: ascii(names)[:20])
def test_class_names_that_are_none_are_refused(made, names):
    path = made(hostile.keras_with_members_outside)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(path.with_name("other.keras"), "w") as target:
        for name in source.namelist():
            target.writestr(name, json.dumps(names) if name == "classes.json" else source.read(name))
    with pytest.raises(UserError, match="is damaged or not a model exported by Darkroom") as raised:
        formats.load(path.with_name("other.keras"))
    assert len(str(raised.value)) < 400


# Calls that open a model, or can run what they read. Those of files that the project itself has written, or of code.
LISTED = {
    ("darkroom/__main__.py", "importlib.import_module"): "one of a table of names",
    ("darkroom/backbones/vgg16_mirror.py", "np.load"): "arrays",
    ("darkroom/backbones/vgg16_mirror.py", "onnx.load"): "a pinned file",
    ("darkroom/backbones/weights.py", "backbone.load_weights"): "arrays; Keras refuses HDF5 that refers to other files",
    ("darkroom/cluster/worker.py", "cloudpickle.loads"): "what the stage sent to a process that runs its code anyway",
    ("darkroom/core/yaml.py", "yaml.load"): "plain values",
    ("darkroom/download/sources/__init__.py", "importlib.import_module"): "one of a list",
    ("darkroom/export/cache.py", "np.load"): "arrays",
    ("darkroom/core/row_cache.py", "np.load"): "arrays",
    ("darkroom/extract/fill.py", "network.load_weights"): "arrays that the stage has written",
    ("darkroom/inference/formats/__init__.py", "importlib.import_module"): "files of the folder",
    ("darkroom/inference/formats/keras.py", "keras.models.load_model"): "known layers, or trusted",
    ("darkroom/inference/formats/onnx.py", "onnx.load"): "data, and a file that this process wrote",
    ("darkroom/inference/formats/saved_model.py", "tf.saved_model.load"): "the project's own, or trusted",
    ("darkroom/models/classifier.py", "head.load_weights"): "arrays",
    ("darkroom/models/classifier.py", "network.load_weights"): "arrays",
    ("darkroom/models/heads/__init__.py", "importlib.import_module"): "files of the folder",
    ("darkroom/models/inputs.py", "np.load"): "arrays",
    ("darkroom/models/networks/__init__.py", "importlib.import_module"): "one of the folder's files",
    ("darkroom/pipeline/recipes.py", "yaml.load"): "plain values, as ruamel's round trip builds them",
    ("darkroom/tracking/failures.py", "ScriptDirectory.from_config"): "the list of MLflow's own migrations",
    ("darkroom/train/checkpoints.py", "np.load"): "arrays",
    ("darkroom/train/fine_tuning.py", "whole.load_weights"): "arrays",
}
# What opens models, builds objects or runs text, and every other `load` of a library.
LOADERS = re.compile(
    r"(^|\.)(load_(model|weights|pyfunc)|func_load|import_module|__import__|eval|exec|model_from_\w+|deserialize\w*|"
    r"from_config|read_pickle)$|^compile$|^(?!json\.).*\.(unsafe_|full_|safe_)?loads?$"
)
# Functions of this project called load, each of which calls one of the above or reads JSON; and Pillow's pixels.
OWN = {
    *(
        f"{name}.load"
        for name in (
            "params",
            "formats",
            "matching",
            "Classifier",
            "classifier.Classifier",
            "ModelSpec",
            "BackboneSpec",
        )
    ),
    *(f"{name}.load" for name in ("weights", "trained", "self.checkpoints", "cls", "file", "image", "Tree", "inputs")),
}


def test_every_loader_is_listed():
    """A new call of one must be judged, and entered above with the reason why it executes nothing."""
    found = set()
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "stages").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if LOADERS.search(name) and name not in OWN:
                    found.add((path.relative_to(ROOT).as_posix(), name))
                assert not any(word.arg == "allow_pickle" for word in node.keywords), path
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            pickles = {"pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve"} & set(names)
            assert not pickles or path == PACKAGE / "cluster/worker.py", path
    assert sorted(found ^ set(LISTED)) == []


def test_the_allowed_parts_are_those_of_our_own_models():
    assert all(not name.startswith(("Lambda", "TFSM", "Torch", "Jax", "Flax")) for _, name in keras_format.ALLOWED)
    assert FORMATS["onnx"].danger(Path("model.onnx")) is None
