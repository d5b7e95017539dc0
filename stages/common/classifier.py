"""The trained model on disk: a backbone (pixels to features), a head (features to logits), a temperature, class names.

    models/model.json           how backbone and head are built, class names, temperature
    models/classes.json         class names by number, for whoever wants nothing else
    models/backbone.weights.h5  equal for all heads on the same features, so DVC keeps it once
    models/head.weights.h5

Weights and settings are equal byte for byte when a training is repeated; a `.keras` file would hold the date.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.common.errors import StageError
from stages.common.files import link_or_copy, sha256, write_json

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
    """A trained head with everything that a prediction needs besides it."""

    head: "keras.Model"
    head_settings: dict[str, Any]
    backbone_settings: dict[str, Any]
    backbone_weights: Path
    classes: list[str]
    temperature: float

    def save(self, folder: Path) -> None:
        """Write the model's files into an empty folder."""
        write_json(
            folder / SETTINGS,
            {
                "backbone": self.backbone_settings,
                "head": self.head_settings,
                "classes": self.classes,
                "temperature": self.temperature,
            },
        )
        write_json(folder / CLASSES, self.classes)
        link_or_copy(self.backbone_weights, folder / BACKBONE)
        self.head.save_weights(folder / HEAD)

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Read what `save` wrote."""
        from stages.common import heads

        said = settings(folder)
        head = heads.build(said["head"], said["backbone"]["features"], len(said["classes"]))
        head.load_weights(folder / HEAD)
        return cls(head, said["head"], said["backbone"], folder / BACKBONE, said["classes"], said["temperature"])

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (pictures, classes) as float32 from features (pictures, n)."""
        from keras import ops

        logits = self.head.predict(features.astype(np.float32), batch_size=512, verbose=0)
        return np.asarray(ops.convert_to_numpy(ops.softmax(logits / self.temperature)))

    def whole(self) -> "keras.Model":
        """One float32 model from raw RGB pixels (batch, any height, any width, 3), 0 to 255, to probabilities."""
        import keras

        from stages.common import backbone

        said = self.backbone_settings
        height, width = said["image_size"]
        trunk = backbone.build(said["backbone"], (height, width), said["layers"], said["pooling"])
        trunk.load_weights(self.backbone_weights)
        features = trunk(trunk.input)
        parts = [features[layer] for layer in said["layers"]]
        joined = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
        scaled = keras.layers.Rescaling(1 / self.temperature, dtype="float32")(self.head(joined))
        return keras.Model(trunk.input, keras.layers.Softmax(dtype="float32", name="probabilities")(scaled))
