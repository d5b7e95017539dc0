import contextlib
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.core.params import Base
from darkroom.export import parity
from darkroom.export.conversion import Conversion
from darkroom.images.decode import decode
from darkroom.inference import formats
from darkroom.models.classifier import Classifier, digest
from stages import export
from tests.helpers.project import run

ALL = {"formats": list(formats.FILES), "check_pictures": 20, "register": None}


@pytest.fixture(scope="module")
def model(project):
    return Classifier.load(project / "models")


@pytest.fixture(scope="module")
def whole(model):
    return model.whole()


@pytest.fixture
def rows(project, monkeypatch):
    monkeypatch.chdir(project)
    return read_csv(project / "reports/predictions.csv")


@pytest.fixture
def copy(project, tmp_path, monkeypatch):
    """What the stage reads and has written, for a test to change; and a store of its own."""
    for name in ("models", "reports", "exports", "data/split"):
        shutil.copytree(project / name, tmp_path / name)
    shutil.copy(project / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


def files(folder):
    """What lies in a folder: name to content."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_process_gets_keras_probabilities_from_raw_pixels(project, whole, rows):
    """Plain TensorFlow, without this project's code, on pictures of several sizes."""
    code = (
        "import sys, numpy as np, tensorflow as tf\n"
        "model = tf.saved_model.load('exports/saved_model')\n"
        "pixels = np.load(sys.argv[1])\n"
        "np.save(sys.argv[2], model(pixels).numpy())\n"
        "again = model.signatures['serving_default'](pixels=tf.constant(pixels))['probabilities'].numpy()\n"
        "assert (again == np.load(sys.argv[2])).all(), 'signature'"
    )
    for number, shape in enumerate([(28, 28), (90, 61), (32, 200)]):
        pixels = (
            tf.image.resize(np.stack([decode(Path(row["path"])) for row in rows[::30]]), shape).numpy().astype(np.uint8)
        )
        given, taken = project / f".cache/{number}.npy", project / f".cache/{number}_out.npy"
        np.save(given, pixels)
        run("python", "-c", code, str(given), str(taken), cwd=project)
        expected = whole(pixels).numpy()
        assert expected.shape == (4, 10)
        assert np.abs(np.load(taken) - expected).max() < 1e-5


def test_the_export_says_what_was_evaluated(project, model):
    said = json.loads((project / "reports/export.json").read_text())
    assert said.pop("model_sha256") == digest(project / "models")
    assert set(said) == {"saved_model", "onnx"}
    for kind, report in said.items():
        assert report["pictures"] == 20
        assert report["same_label"] == 1
        assert report["within"] == parity.TOLERANCE
        assert report["same_as_evaluated"] >= 0.95
        assert report["bytes"] == export.size(project / "exports" / formats.FILES[kind])
        assert formats.load(project / "exports" / formats.FILES[kind]).classes == model.classes
    assert sorted(path.name for path in (project / "exports").iterdir()) == [
        "MODEL_CARD.md", "classes.json", "model.onnx", "saved_model",
    ]  # fmt: skip
    assert json.loads((project / "exports/classes.json").read_text()) == model.classes


def test_the_features_path_and_the_pixels_path_agree(project, whole, rows):
    """Evaluation goes over cached features, the export over pixels: the difference is the features' precision."""
    for row in rows[:20]:
        probabilities = whole(decode(Path(row["path"]))[None]).numpy()[0]
        assert probabilities.max() == pytest.approx(float(row["probability"]), abs=0.05)


def test_all_formats_at_once(copy, whole, capsys):
    """The stage's own figures against figures worked out here."""
    other_process = (copy / "exports/model.onnx").read_bytes()
    export.main(Base(seed=1), export.Params(**ALL))
    said = capsys.readouterr().out
    reports = json.loads((copy / "reports/export.json").read_text())
    chosen = export.sample(read_csv(Path("reports/predictions.csv")), 20, 1)
    pixels = [decode(Path(row["path"]))[None] for row in chosen]
    expected = np.concatenate([whole(one).numpy() for one in pixels])
    labels, truth = json.loads(Path("models/classes.json").read_text()), np.array([row["label"] for row in chosen])
    for kind, file in formats.FILES.items():
        exported = formats.load(copy / "exports" / file)
        given = np.concatenate([exported.probabilities(one) for one in pixels])
        report = reports[kind]
        assert report["within"] - (0.001 if kind == "litert_int8" else 1e-4) <= np.abs(given - expected).max()
        assert np.abs(given - expected).max() <= report["within"]
        for name, probabilities in (("accuracy", given), ("keras_accuracy", expected)):
            assert report[name] == np.mean([labels[n] for n in probabilities.argmax(axis=1)] == truth)
        assert f"export: exports/{file}, " in said
    assert reports["litert_int8"]["within"] > parity.TOLERANCE
    assert reports["litert_int8"]["bytes"] < 0.3 * reports["litert"]["bytes"]
    assert (copy / "exports/model.onnx").read_bytes() == other_process


def test_a_format_that_says_something_else_stops_the_stage(copy, model, whole, monkeypatch):
    """A converter that gets one thing wrong: here the temperature."""
    said = model.settings | {"temperature": 1.05 * model.temperature}
    wrong = Conversion(dataclasses.replace(model, settings=said).whole(), model.classes)
    exported = formats.load(wrong.write("onnx", copy))
    with pytest.raises(UserError, match=r"model.onnx does not say what Keras says of 10 test pictures \(100.0% of the"):
        parity.compare({"onnx": exported}, whole, read_csv(Path("reports/predictions.csv"))[:10], "dense")
    before, converter = files(copy), Conversion._onnx
    monkeypatch.setattr(Conversion, "_onnx", lambda self, target: converter(wrong, target))
    with pytest.raises(UserError, match=r"Keras says of 20 test pictures .*nothing is exported; take onnx out of"):
        export.main(Base(seed=1), export.Params(**{**ALL, "formats": ["keras", "onnx"]}))
    assert {name: content for name, content in files(copy).items() if ".partial/" not in name} == before


# Keras' probabilities of four pictures, and what a format says instead; whether each of the three gates lets it pass.
KERAS = [[0.9, 0.1], [0.5, 0.5], [0.3, 0.7], [0.2, 0.8]]
GATES = [
    (KERAS, True, True, True),
    ([[0.9, 0.1], [0.49995, 0.50005], [0.3, 0.7], [0.2, 0.8]], True, True, True),  # a tie may fall either way
    ([[0.9, 0.1], [0.5, 0.5], [0.3, 0.7], [0.2002, 0.7998]], False, False, True),
    ([[0.9, 0.1], [0.5, 0.5], [0.3, 0.7], [0.6, 0.4]], False, False, False),  # three labels of four
    ([[np.nan] * 2] * 4, False, False, False),
]


@pytest.mark.parametrize(("given", "exact", "steps", "int8"), GATES)
def test_what_a_gate_lets_pass(given, exact, steps, int8):
    rows = [{"label": "a", "predicted": "a"}] * 2 + [{"label": "b", "predicted": "b"}] * 2
    for kind, head, passes in (("onnx", "dense", exact), ("litert", "forest", steps), ("litert_int8", "dense", int8)):
        with contextlib.nullcontext() if passes else pytest.raises(UserError, match="does not say what Keras says"):
            said = parity.report(kind, np.array(given), np.array(KERAS), rows, ["a", "b"], parity.gate(kind, head))
            assert said["keras_accuracy"] == 1
            assert said["accuracy"] == said["same_as_evaluated"] == np.mean(np.argmax(given, axis=1) == [0, 0, 1, 1])


def test_a_forest_may_send_a_few_pictures_elsewhere():
    expected = np.tile([0.9, 0.1], (20, 1))
    given = expected.copy()
    given[:2] = [0.8973, 0.1027]
    rows = [{"label": "a", "predicted": "a"}] * 20
    said = parity.report("onnx", given, expected, rows, ["a", "b"], parity.gate("onnx", "forest"))
    assert (said["same_label"], said["within"]) == (1, 0.003)
    given[2] = [0.897, 0.103]
    with pytest.raises(UserError, match=r"100.0% of the labels are the same, a probability differs by up to 3.0e-03"):
        parity.report("onnx", given, expected, rows, ["a", "b"], parity.gate("onnx", "forest"))


def test_what_depends_on_the_machine_is_not_written():
    """Arithmetic in another order: below the tolerance, what is kept is said, not what was found."""
    rows = [{"label": "a", "predicted": "a"}] * 4
    found = [
        parity.report("onnx", np.array(KERAS) + noise, np.array(KERAS), rows, ["a", "b"], parity.EXACT)
        for noise in (1e-7, 3e-6)
    ]
    assert found[0] == found[1]
    assert found[0]["within"] == 1e-4


def test_the_sample_follows_the_seed(rows):
    chosen = [export.sample(rows, 15, seed) for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(chosen[0]) == 15
    assert len(export.sample(rows, 10_000, 1)) == len(rows)


def test_a_format_stands_there_once():
    with pytest.raises(ValueError, match="each format may stand there once"):
        export.Params(**{**ALL, "formats": ["onnx", "keras", "onnx"]})
