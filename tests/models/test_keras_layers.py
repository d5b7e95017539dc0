import inspect

import keras
import pytest

from darkroom.backbones import keras_apps
from darkroom.models import keras_layers
from darkroom.models.heads import layers
from darkroom.models.networks import base

pytestmark = pytest.mark.usefixtures("tensorflow")


def test_all_of_the_projects_layers_are_registered():
    """Under names that saved models contain."""
    defined = {
        value
        for module in (keras_apps, layers, base)
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, keras.layers.Layer) and value.__module__ == module.__name__
    }
    assert set(keras_layers.LAYERS) == defined
    for layer in defined:
        assert keras.saving.get_registered_object(f"darkroom>{layer.__name__}") is layer
