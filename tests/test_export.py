import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from stages import export
from stages.common import saved_model
from stages.common.classifier import Classifier
from stages.common.errors import StageError
from stages.common.files import read_csv
from stages.common.pictures import decode
from tests.conftest import run


@pytest.fixture(scope="module")
def model(project):
    return Classifier.load(project / "models")


@pytest.fixture
def rows(project, monkeypatch):
    monkeypatch.chdir(project)
    return read_csv(project / "reports/predictions.csv")


def test_another_process_gets_keras_probabilities_from_raw_pixels(project, model, rows):
    """Plain TensorFlow, without this project's code, on pictures of several sizes."""
    code = (
        "import sys, numpy as np, tensorflow as tf\n"
        "model = tf.saved_model.load('exports/saved_model')\n"
        "pixels = np.load(sys.argv[1])\n"
        "np.save(sys.argv[2], model(pixels).numpy())\n"
        "again = model.signatures['serving_default'](pixels=tf.constant(pixels))['output_0'].numpy()\n"
        "assert (again == np.load(sys.argv[2])).all(), 'signature'"
    )
    whole = model.whole()
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


def test_the_export_says_what_was_evaluated(project):
    report = json.loads((project / "reports/export.json").read_text())["saved_model"]
    assert report["pictures"] == 20
    assert report["largest_difference"] <= export.LARGEST_DIFFERENCE
    assert report["same_as_evaluated"] >= 0.95
    assert json.loads((project / "exports/classes.json").read_text()) == Classifier.load(project / "models").classes


def test_the_features_path_and_the_pixels_path_agree(project, model, rows):
    """Evaluation goes over cached features, the export over pixels: the difference is the features' precision."""
    whole = model.whole()
    for row in rows[:20]:
        probabilities = whole(decode(Path(row["path"]))[None]).numpy()[0]
        assert probabilities.max() == pytest.approx(float(row["probability"]), abs=0.05)


def test_a_savedmodel_that_says_something_else_is_refused(model, rows, tmp_path):
    whole = model.whole()
    wrong = saved_model.PixelsToProbabilities(lambda pixels: whole(tf.cast(pixels, tf.float32) * 0.9))
    wrong.variables_of = whole
    saved_model.save(wrong, str(tmp_path / "wrong"))
    with pytest.raises(StageError, match="the SavedModel differs from Keras by"):
        export.compare(tmp_path / "wrong", whole, rows[:10], model.classes)


def test_the_sample_follows_the_seed(rows):
    chosen = [export.sample(rows, 15, seed) for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(chosen[0]) == 15
    assert len(export.sample(rows, 10_000, 1)) == len(rows)
