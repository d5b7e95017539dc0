"""Training a head on features."""

from types import SimpleNamespace

import pytest

from darkroom.core.model_spec import BackboneSpec
from darkroom.core.paths import EXTRACT_REPORT
from darkroom.images.folders import listed
from darkroom.pipeline import params
from tests.helpers.training import session

pytestmark = pytest.mark.usefixtures("tensorflow")


def test_a_head_is_trained_on_train_and_validated_on_val(project, monkeypatch):
    from darkroom.train import features

    monkeypatch.chdir(project)
    seen = {}

    def fit_head(settings, train, val, classes, session):
        seen.update(train=train.paths, val=val.paths)
        return {}, SimpleNamespace(input_shape=(None, 1)), {}

    monkeypatch.setattr(features, "fit_head", fit_head)
    backbone = BackboneSpec.load(EXTRACT_REPORT)
    result = features.fit(params.current().train, backbone, session())
    assert seen == {part: [str(path) for path, _ in listed(part)] for part in ("train", "val")}
    assert result.model.spec.classes == tuple(sorted({label for _, label in listed("train")}))
