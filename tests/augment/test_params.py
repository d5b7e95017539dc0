import pytest

from darkroom.augment.params import Changes, Params
from darkroom.augment.transforms import PRESETS, Transforms


def test_values_replace_those_of_the_preset():
    params = Params(preset="tutorial", rotation=10.0, horizontal_flip=False, hue=0.1)
    assert params.transforms() == PRESETS["tutorial"]._replace(rotation=10, horizontal_flip=False, hue=0.1)
    assert Params(preset="none").transforms() == Changes().transforms() == Transforms()


def test_the_tutorial_is_that_of_the_tutorials():
    shifts = {"width_shift": 0.2, "height_shift": 0.2}
    expected = Transforms(rotation=40, shear=0.2, zoom=0.2, horizontal_flip=True, fill="nearest", **shifts)
    assert expected == PRESETS["tutorial"] == Params().transforms()


def test_presets_are_those_of_the_table():
    for name in PRESETS:
        assert Params(preset=name).transforms() == PRESETS[name]
    with pytest.raises(ValueError, match="Input should be 'tutorial', 'trivial_augment' or 'none'"):
        Params(preset="heavy")
