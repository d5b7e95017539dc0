"""The trained model on disk: a backbone (pixels to features), a head (features to logits), a temperature, class names.

    models/model.json           how backbone and head are built, class names, temperature
    models/classes.json         class names by number, for whoever wants nothing else
    models/backbone.weights.h5  the whole network's; equal for all heads on the same features, so DVC keeps it once
    models/head.weights.h5

A network that was trained from scratch is a head that begins at the pixels; then there is no backbone.

Weights and settings are equal byte for byte when a training is repeated; a `.keras` file would hold the date.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.common.errors import StageError
from stages.common.files import link_or_copy, sha256, write_json
from stages.common.models.inputs import Features, Inputs, Pictures
from stages.common.paths import FEATURES
from stages.common.pictures import listed

if TYPE_CHECKING:
    import keras

SETTINGS = "model.json"
CLASSES = "classes.json"
BACKBONE = "backbone.weights.h5"
HEAD = "head.weights.h5"


def digest(folder: Path) -> str:
    """The model's SHA-256: over one line `<sha256 of the file>  <name>` for each file in the folder, sorted by name."""
    lines = [f"{sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir()) if path.is_file()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def settings(folder: Path) -> dict[str, Any]:
    """What `model.json` says.

    Raises:
        StageError: there is no model.
    """
    if not (folder / SETTINGS).exists():
        raise StageError(f"{folder} holds no model: run `dvc repro`, or `dvc pull {folder}` where somebody pushed one.")
    return dict(json.loads((folder / SETTINGS).read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Classifier:
    """A trained model: what `model.json` says, a head, and the file with the weights of the whole network, if there is.

    The head begins at the features of the layers in `settings["layers"]`. After fine-tuning a part of the network
    belongs to what begins there, from `settings["tuned"]["start"]` on; null there, and no layers, mean the pixels.
    """

    settings: dict[str, Any]
    head: "keras.Model"
    weights: Path | None

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Read what `save` wrote."""
        from stages.common.models import heads, networks

        said = settings(folder)
        if said["backbone"]["backbone"] is None:
            head, weights = networks.build(said["head"], len(said["classes"])), None
        else:
            head, weights = heads.build(said["head"], said["features"], len(said["classes"])), folder / BACKBONE
        head.load_weights(folder / HEAD)
        return cls(said, head, weights)

    def save(self, folder: Path) -> None:
        """Write the model's files into a folder, which may hold the network's weights already."""
        write_json(folder / SETTINGS, self.settings)
        write_json(folder / CLASSES, self.classes)
        if self.weights not in (None, folder / BACKBONE):
            link_or_copy(self.weights, folder / BACKBONE)
        self.head.save_weights(folder / HEAD)

    @property
    def classes(self) -> list[str]:
        """Class names by number."""
        return list(self.settings["classes"])

    @property
    def temperature(self) -> float:
        """What logits are divided by."""
        return float(self.settings["temperature"])

    def inputs(self, part: str) -> Inputs:
        """The rows of a split on which the model's head begins: features, or pictures."""
        if self.settings["layers"]:
            return Features(FEATURES, part, self.settings["layers"])
        height, width = self.settings["backbone"]["image_size"]
        return Pictures(listed(part), (height, width))

    def logits(self, inputs: Inputs) -> np.ndarray:
        """(rows, classes), before calibration."""
        from stages.common.models import heads

        return heads.run(self.top, inputs)

    def probabilities(self, inputs: Inputs) -> np.ndarray:
        """Calibrated probabilities (rows, classes) as float32."""
        from scipy.special import softmax

        return softmax(self.logits(inputs) / np.float32(self.temperature), axis=1)

    @cached_property
    def network(self) -> "keras.Model":
        """The whole network in float32, with its weights."""
        from stages.common.models import backbone

        height, width = self.settings["backbone"]["image_size"]
        network = backbone.network(self.settings["backbone"]["backbone"], (height, width))
        network.load_weights(self.weights)
        return network

    @cached_property
    def top(self) -> "keras.Model":
        """From the rows of `inputs` to logits: the head, and what was fine-tuned below it."""
        import keras

        from stages.common.models import cut

        tuned = self.settings["tuned"]
        if tuned is None:
            return self.head
        rows, maps = cut.entry(self.network, self.settings["backbone"]["backbone"], tuned["start"])
        features = cut.features(self.network, tuned["start"], tuned["top"], tuned["pooling"], maps)
        return keras.Model(rows, self.head(features), name="classifier")

    def whole(self) -> "keras.Model":
        """One float32 model from raw RGB pixels (batch, any height, any width, 3), 0 to 255, to probabilities."""
        import keras

        from stages.common.models import backbone

        said = self.settings["backbone"]
        height, width = said["image_size"]
        layers = self.settings["layers"]
        if layers:
            body = backbone.body(self.network, said["backbone"], (height, width), layers, said["pooling"])
            pixels = body.input
            parts = [body(pixels)[layer] for layer in layers]
            rows = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
        else:
            pixels = keras.Input((None, None, 3), name="pixels")
            rows = backbone.Resize((height, width), name="resize")(pixels)
        scaled = keras.layers.Rescaling(1 / self.temperature, dtype="float32")(self.top(rows))
        return keras.Model(pixels, keras.layers.Softmax(dtype="float32", name="probabilities")(scaled))
