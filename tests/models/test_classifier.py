"""The data that a model takes: features or pictures, of the split that was asked for."""

import pytest

from darkroom.core.model_spec import ModelSpec
from darkroom.core.paths import MODELS
from darkroom.images.folders import PARTS, listed
from darkroom.models.classifier import Classifier


@pytest.mark.parametrize("part", PARTS)
def test_a_split_has_its_own_pictures_in_canonical_order(project, monkeypatch, part):
    monkeypatch.chdir(project)
    spec = ModelSpec.load(MODELS)
    pictures = listed(part)
    for model in (Classifier(spec, None, None), Classifier(spec.model_copy(update={"layers": ()}), None, None)):
        inputs = model.inputs(part)
        assert inputs.paths == [str(picture.path) for picture in pictures]
        assert inputs.labels == [picture.label for picture in pictures]
