"""A trained model in memory: its specification, its head, and the backbone below the head.

It is stored as a specification and weights, which are byte-identical if a training is repeated; a `.keras` file would
contain the date.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from darkroom.core.files import link_or_copy
from darkroom.core.model_spec import BACKBONE, HEAD, JOINT, ModelSpec
from darkroom.core.paths import FEATURES
from darkroom.core.weights_file import save_weights
from darkroom.images.folders import listed
from darkroom.models.inputs import Features, Inputs, Pictures

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Classifier:
    """A trained model: its specification, the head, and the weights file of the backbone (None without one)."""

    spec: ModelSpec
    head: "keras.Model"
    weights: Path | None

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Load the model that `save` wrote to a folder."""
        from darkroom.models import head_model, networks

        spec = ModelSpec.load(folder)
        if spec.features is None:
            head, weights = networks.build(spec.head, len(spec.classes)), None
        else:
            head, weights = head_model.build(spec.head, spec.features, len(spec.classes)), folder / BACKBONE
        head.load_weights(folder / HEAD)
        return cls(spec, head, weights)

    def save(self, folder: Path) -> None:
        """Write the model's files to a folder, which may contain the backbone's weights already."""
        self.spec.save(folder)
        if self.weights not in (None, folder / BACKBONE):
            link_or_copy(self.weights, folder / BACKBONE)
        save_weights(self.head, folder / HEAD)

    def inputs(self, part: str) -> Inputs:
        """A split as the model takes it: features, or pictures."""
        if self.spec.layers:
            return Features(FEATURES, part, self.spec.layers)
        return Pictures(listed(part), self.spec.backbone.size)

    def logits(self, inputs: Inputs) -> np.ndarray:
        """Logits (rows, classes) of all rows, before calibration."""
        from darkroom.models import forward

        return forward.run(self.top, inputs)

    @cached_property
    def backbone(self) -> "keras.Model":
        """The whole backbone in float32 with its weights."""
        from darkroom.backbones import keras_apps

        network = keras_apps.network(str(self.spec.backbone.name), self.spec.backbone.size)
        network.load_weights(self.weights)
        return network

    @cached_property
    def top(self) -> "keras.Model":
        """The head with any fine-tuned layers below it: the rows of `inputs` to logits."""
        import keras

        from darkroom.models import split_point

        tuned = self.spec.tuned
        if tuned is None:
            return mirrored(self.head) if self.spec.mirror else self.head
        rows, maps = split_point.entry(self.backbone, str(self.spec.backbone.name), tuned.start)
        features = split_point.features(self.backbone, tuned.start, tuned.top, tuned.pooling, maps)
        top = keras.Model(rows, self.head(features), name="classifier")
        return mirrored(top) if self.spec.mirror else top

    def whole(self) -> "keras.Model":
        """One float32 model from raw RGB pixels (batch, any height, any width, 3), 0 to 255, to probabilities."""
        import keras

        from darkroom.backbones import keras_apps

        backbone, layers = self.spec.backbone, self.spec.layers
        if layers:
            name, pooling = str(backbone.name), str(backbone.pooling)
            body = keras_apps.feature_extractor(
                self.backbone, name, backbone.size, list(layers), pooling, backbone.mirror
            )
            pixels = body.input
            parts = [body(pixels)[layer] for layer in layers]
            rows = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
        else:
            pixels = keras.Input((None, None, 3), name="pixels")
            rows = keras_apps.Resize(backbone.size, name="resize")(pixels)
        rows = keras.layers.Identity(name=JOINT)(rows)
        scaled = keras.layers.Rescaling(1 / self.spec.temperature, dtype="float32")(self.top(rows))
        return keras.Model(pixels, keras.layers.Softmax(dtype="float32", name="probabilities")(scaled))


def mirrored(model: "keras.Model") -> "keras.Model":
    """The mean of a model's logits over pixels (batch, height, width, 3) and their mirror image."""
    import keras

    pixels = keras.Input(model.input_shape[1:], name="resized")
    both = [model(pixels), model(keras.ops.flip(pixels, axis=2))]
    return keras.Model(pixels, keras.layers.Average(name="mean")(both), name="mirrored")
