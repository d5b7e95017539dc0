"""The stage on the small project: its reports, and that nothing is exported which disagrees with Keras."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.core.hashing import sha256
from darkroom.core.model_spec import model_sha256
from darkroom.core.params import Base
from darkroom.export import parity
from darkroom.export.conversion import Conversion
from darkroom.images.decode import decode
from darkroom.inference import formats
from darkroom.inference.formats import FORMATS
from stages import export
from tests.helpers.project import run

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.fixture
def rows(exported, monkeypatch):
    monkeypatch.chdir(exported.folder)
    return read_csv(Path("reports/predictions.csv"))


def files(folder):
    """The files in a folder: name to content."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_plain_tensorflow_gets_keras_probabilities_from_raw_pixels(project, exported, rows):
    """The SavedModel that the project's own process wrote, on pictures of several sizes. (The model card's test loads
    one in a process without this project's code.)"""
    model = tf.saved_model.load(str(project / "exports/saved_model"))
    for shape in [(28, 28), (90, 61), (32, 200)]:
        pictures = np.stack([decode(Path(row["path"])) for row in rows[::30]])
        pixels = tf.image.resize(pictures, shape).numpy().astype(np.uint8)
        expected, given = exported.whole(pixels).numpy(), model(pixels).numpy()
        assert expected.shape == (4, 10)
        assert np.abs(given - expected).max() < 1e-5
        signature = model.signatures["serving_default"](pixels=tf.constant(pixels))["probabilities"].numpy()
        assert (signature == given).all()


def test_the_export_agrees_with_the_evaluation(project, exported):
    reports = json.loads((project / "reports/export.json").read_text())
    assert reports.pop("model_sha256") == model_sha256(project / "models")
    assert reports.pop("sums_sha256") == sha256(project / "exports/SHA256SUMS")
    assert set(reports) == {"saved_model", "onnx"}
    classes = list(exported.model.spec.classes)
    for name, report in reports.items():
        path = project / "exports" / FORMATS[name].file
        assert report["pictures"] == 20
        assert report["same_label"] == 1
        assert report["within"] == parity.TOLERANCE
        assert report["same_as_evaluated"] >= 0.95
        assert report["bytes"] == export.size(path)
        assert formats.load(path, trust=True).classes == classes
    assert sorted(path.name for path in (project / "exports").iterdir()) == [
        "MODEL_CARD.md", "SHA256SUMS", "classes.json", "model.onnx", "saved_model",
    ]  # fmt: skip
    run("sha256sum", "--check", "--quiet", "SHA256SUMS", cwd=project / "exports")
    listed = {line[66:] for line in (project / "exports/SHA256SUMS").read_text().splitlines()}
    assert listed == set(files(project / "exports")) - {"SHA256SUMS"}
    assert json.loads((project / "exports/classes.json").read_text()) == classes


def test_features_and_pixels_give_the_same_probabilities(exported, rows):
    """Evaluation uses cached features, the export pixels: the difference is the features' precision."""
    for row in rows[:20]:
        probabilities = exported.whole(decode(Path(row["path"]))[None]).numpy()[0]
        assert probabilities.max() == pytest.approx(float(row["probability"]), abs=0.05)


def test_all_formats_at_once(project, exported, rows):
    """The stage's own figures against figures calculated here."""
    folder, reports = exported.folder, exported.reports
    chosen = export.sample(rows, reports["onnx"]["pictures"], 1)
    pixels = [decode(Path(row["path"]))[None] for row in chosen]
    expected = np.concatenate([exported.whole(picture).numpy() for picture in pixels])
    labels, truth = np.array(exported.model.spec.classes), np.array([row["label"] for row in chosen])
    for name, registered in FORMATS.items():
        model, report = formats.load(folder / "exports" / registered.file, trust=True), reports[name]
        given = np.concatenate([model.probabilities(picture) for picture in pixels])
        difference = np.abs(given - expected).max()
        assert report["within"] - (0.001 if name == "litert_int8" else 1e-4) <= difference <= report["within"]
        for key, probabilities in (("accuracy", given), ("keras_accuracy", expected)):
            assert report[key] == np.mean(labels[probabilities.argmax(axis=1)] == truth)
        assert f"export: exports/{registered.file}, " in exported.output
    assert reports["litert_int8"]["within"] > parity.TOLERANCE
    assert reports["litert_int8"]["bytes"] < 0.3 * reports["litert"]["bytes"]
    # Another process wrote the same bytes.
    assert (folder / "exports/model.onnx").read_bytes() == (project / "exports/model.onnx").read_bytes()


def test_a_format_that_disagrees_with_keras_stops_the_stage(exported, tmp_path, monkeypatch):
    """A converter with one mistake: here the temperature."""
    for name in ("models", "reports", "exports", "data/features", "data/split"):
        shutil.copytree(exported.folder / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    spec = exported.model.spec
    wrong = dataclasses.replace(exported.model, spec=spec.model_copy(update={"temperature": 1.05 * spec.temperature}))
    path = Conversion(wrong.whole(), list(spec.classes)).write(FORMATS["saved_model"], tmp_path)
    mistaken = dataclasses.replace(FORMATS["saved_model"], write=lambda _, target: shutil.copytree(path, target))
    monkeypatch.setitem(FORMATS, "saved_model", mistaken)
    before = files(tmp_path)
    with pytest.raises(
        UserError,
        match=r"saved_model disagrees with Keras on 8 .* \(100.0% of the .*nothing was exported; remove saved_model",
    ):
        export.main(Base(seed=1), export.Params(formats=["saved_model"], check_pictures=8))
    after = {name: content for name, content in files(tmp_path).items() if not name.startswith(".cache/")}
    assert {name: content for name, content in after.items() if ".partial/" not in name} == before


def test_an_evaluation_of_other_features_than_the_export_computes_stops_the_stage(exported, tmp_path, monkeypatch):
    for name in ("models", "reports", "data/features", "data/split"):
        shutil.copytree(exported.folder / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    (path,) = Path("data/features").glob("test.*.npy")
    np.save(path, 1.1 * np.load(path))
    with pytest.raises(UserError, match=r"model.onnx disagrees with Keras on 8 test pictures"):
        export.main(Base(seed=1), export.Params(formats=["onnx"], check_pictures=8))


def test_the_sample_follows_the_seed(rows):
    chosen = [export.sample(rows, 15, seed) for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(chosen[0]) == 15
    assert len(export.sample(rows, 10_000, 1)) == len(rows)


def test_a_format_is_listed_once():
    with pytest.raises(ValueError, match="each format may be listed once"):
        export.Params(formats=["onnx", "keras", "onnx"])
