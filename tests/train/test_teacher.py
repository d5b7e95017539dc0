"""Soft labels from an earlier model."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from darkroom.core.errors import UserError
from darkroom.images.folders import listed
from darkroom.models.inputs import Pictures
from darkroom.train import teacher
from stages import train
from tests.helpers.pictures import CLASSES
from tests.helpers.training import descent, from_scratch, head_on_features, scratch_params, session, weights_bytes

pytestmark = pytest.mark.usefixtures("tensorflow")
FOLDER = Path("data/weights/teacher")


@pytest.fixture
def model(vgg16):
    """A head on VGG16's features, saved where a teacher lies."""
    model = head_on_features(backbone=vgg16)
    FOLDER.mkdir(parents=True)
    model.save(FOLDER)
    return model


def test_labels_are_the_mean_of_the_truth_and_of_what_the_teacher_thinks(model):
    pictures = Pictures(listed("train"), (28, 28))
    truth = np.eye(3, dtype=np.float32)[pictures.numbers(CLASSES)]
    logits = model.logits(model.inputs("train")) / model.spec.temperature
    for weight, temperature in ((1.0, 1.0), (0.5, 4.0)):
        settings = descent(teacher=str(FOLDER), teacher_weight=weight, teacher_temperature=temperature)
        labels = teacher.soft_labels(truth, pictures, CLASSES, settings)
        expected = (1 - weight) * truth + weight * softmax(logits / temperature, axis=1)
        assert labels.dtype == np.float32
        assert labels == pytest.approx(expected, abs=2e-3)


def test_the_teacher_sees_a_picture_once_and_after_a_kill_only_the_rest(model, monkeypatch):
    paths = [path for path, _ in listed("train")]
    expected = teacher.probabilities(model, FOLDER, paths)
    seen = []
    rows = Pictures.rows
    monkeypatch.setattr(Pictures, "rows", lambda self, which: seen.append(len(self)) or rows(self, which))
    assert (teacher.probabilities(model, FOLDER, paths) == expected).all()
    assert not seen
    shutil.rmtree(".cache/teacher")
    monkeypatch.setattr(teacher, "CHUNK", 32)
    kept = teacher.RowCache.add

    def killed(self, digests, arrays):
        kept(self, digests, arrays)
        if len(self.places) >= 64:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(teacher.RowCache, "add", killed)
        teacher.probabilities(model, FOLDER, paths)
    assert teacher.probabilities(model, FOLDER, paths) == pytest.approx(expected, abs=1e-6)
    assert seen[-1] == len(paths) - 64


def test_a_student_learns_from_a_teacher(model):
    """Which is part of what its training depends on."""
    students = [
        from_scratch(session(), network="dense", epochs=2, **changes).model
        for changes in ({}, {"teacher": str(FOLDER)}, {"teacher": str(FOLDER), "teacher_weight": 0.0})
    ]
    first, taught, not_taught = map(weights_bytes, students)
    assert first == not_taught != taught
    assert FOLDER in train.inputs(scratch_params(teacher=str(FOLDER)))
    assert FOLDER not in train.inputs(scratch_params())


def test_a_teacher_of_other_classes_or_none_is_named(model):
    pictures = Pictures(listed("train"), (28, 28))
    truth = np.eye(3, dtype=np.float32)[pictures.numbers(CLASSES)]
    with pytest.raises(
        UserError, match=rf"train.teacher: {FOLDER} knows the classes Bag, .*, but these pictures have a, b"
    ):
        teacher.soft_labels(truth, pictures, ["a", "b"], descent(teacher=str(FOLDER)))
    shutil.rmtree(FOLDER)
    with pytest.raises(UserError, match="data/weights/teacher holds no model"):
        teacher.soft_labels(truth, pictures, CLASSES, descent(teacher=str(FOLDER)))
    with pytest.raises(ValueError, match="teacher is models, but must be a model's folder below data/weights"):
        descent(teacher="models")
