"""Networks from scratch: the model that comes out of a training."""

import numpy as np
import pytest

from darkroom.models.classifier import Classifier
from tests.helpers.training import from_scratch, session

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.fixture(autouse=True)
def inside(split, monkeypatch):
    monkeypatch.chdir(split)


def test_a_mirrored_model_gives_a_picture_and_its_mirror_image_the_mean_of_both(tmp_path):
    """Trained it is as without; saved and loaded it is the same."""
    plain, mirrored = (
        from_scratch(session(), network="compact_resnet", scratch={"filters": 8, "mirror": mirror}, epochs=2).model
        for mirror in (False, True)
    )
    pixels = plain.inputs("val").rows()
    turned = pixels[:, :, ::-1]
    expected = (plain.top(pixels, training=False) + plain.top(turned, training=False)).numpy() / 2
    assert np.abs(plain.top(pixels, training=False) - expected).max() > 1e-3
    for images in (pixels, turned):
        assert mirrored.top(images, training=False).numpy() == pytest.approx(expected, abs=1e-4)
    mirrored.save(tmp_path)
    loaded = Classifier.load(tmp_path)
    assert loaded.top(pixels, training=False).numpy() == pytest.approx(expected, abs=1e-4)
    assert loaded.spec.mirror


def test_options_of_a_network_are_part_of_its_model(tmp_path):
    model = from_scratch(
        session(), network="compact_resnet", scratch={"filters": 8, "stochastic_depth": 0.3}, epochs=1
    ).model
    model.save(tmp_path)
    assert Classifier.load(tmp_path).head.count_params() == model.head.count_params()
    assert {key: model.spec.head[key] for key in ("filters", "stochastic_depth")} == {
        "filters": 8,
        "stochastic_depth": 0.3,
    }
