"""HEIC files, as telephones write them, in every place that reads pictures."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from darkroom.augment import new_pictures
from darkroom.augment.transforms import PRESETS
from darkroom.commands.predict import command as predict
from darkroom.core import parallel
from darkroom.download import inspection
from darkroom.drawing.contact_sheets import contact_sheet
from darkroom.evaluate import galleries
from darkroom.evaluate.label_noise import LabelQuality
from darkroom.images.decode import decode
from darkroom.images.folders import Picture
from darkroom.inference.formats import Exported
from darkroom.inference.predictor import classify
from darkroom.models.inputs import Pictures
from stages import download
from tests.helpers.odd_files import photo, turned_heic
from tests.helpers.pictures import download_params
from tests.helpers.source_files import files_of

UPRIGHT = [np.rot90(photo(number), -1) for number in range(8)]


def near(pixels, number):
    return np.abs(np.asarray(pixels).astype(int) - UPRIGHT[number]).mean() < 6


@pytest.fixture
def paths(tmp_path):
    for number in range(8):
        path = tmp_path / f"incoming/{'ab'[number % 2]}/IMG_{number}.HEIC"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(turned_heic(photo(number)))
    return sorted(tmp_path.glob("incoming/*/*"), key=lambda path: path.name)


@pytest.mark.usefixtures("tensorflow")
def test_every_stage_reads_them(paths, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "ALONE_SECONDS", float("inf"))  # other processes would import the libraries again
    _, report = download.collect(files_of("folder", tmp_path / "incoming"), tmp_path / "raw", download_params(), seed=1)
    assert (report["kept"], report["named_wrongly"], report["dropped"]) == (8, [], [])
    measures = [np.frombuffer(inspection.measure(decode(path)), inspection.MEASURES)[0] for path in paths]
    assert {(row["width"], row["height"]) for row in measures} == {(48, 64)}
    assert len({row["hash"] for row in measures}) > 1

    contact_sheet([paths], ["all"], tmp_path / "sheet.jpg")
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert np.asarray(sheet).std() > 20

    rows = Pictures([Picture(path, 0) for path in paths], (64, 48)).rows()
    assert all(near(row, number) for number, row in enumerate(rows))
    new_pictures.make(list(new_pictures.plan(paths, 12, tmp_path / "new")), PRESETS["none"], 1)
    for number in range(4):
        assert near(decode(tmp_path / f"new/IMG_{number}.HEIC.augmented-0.png"), number)

    issues = [LabelQuality(str(path), "train", "a", "b", 0.1, 0.8) for path in paths]
    galleries.label_issues(issues, tmp_path / "issues.png")
    assert (tmp_path / "issues.png").stat().st_size > 1000


def brightness(pixels):
    """The probabilities of a model of two classes, dark and bright."""
    share = pixels.mean(axis=(1, 2, 3), dtype=np.float32)[:, None] / 255
    return np.concatenate([1 - share, share], axis=1)


def test_predictions_and_the_served_model_read_them(paths, tmp_path):
    exported = Exported(["dark", "bright"], brightness)
    candidates = predict.find([str(tmp_path)])
    assert sorted(path for path, _ in candidates) == sorted(paths)
    expected = [brightness(decode(path)[None])[0] for path in paths]
    results = dict(classify(exported, paths))
    assert all((results[path] == row).all() for path, row in zip(paths, expected, strict=True))

    from darkroom.tracking.pyfunc_model import PictureClassifier
    from darkroom.tracking.served_model import PACKAGES

    model = PictureClassifier()
    model.exported = exported
    answers = model.predict(None, pd.DataFrame({"image": [path.read_bytes() for path in paths]}))
    assert answers["probability"].tolist() == [pytest.approx(row.max(), abs=1e-6) for row in expected]
    assert "pillow-heif" in PACKAGES
