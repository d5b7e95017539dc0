"""Pictures without a label as the exported model sees them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from darkroom.commands.review.pictures import MAX_PIXELS, Picture
from darkroom.core.errors import UserError
from darkroom.core.model_spec import ModelSpec
from darkroom.core.paths import EXPORTS, MODELS
from darkroom.core.seeds import stream
from darkroom.core.terminal import progress
from darkroom.images.decode import decode
from darkroom.inference import formats

BATCH = 32
LARGEST = 2000  # pictures that are looked at; of more, a random choice


class Pool(NamedTuple):
    """Pictures, and what the model makes of them."""

    pictures: list[Picture]
    features: np.ndarray  # (pictures, features)
    probabilities: np.ndarray  # (pictures, classes)
    classes: list[str]


def classify(pictures: Sequence[Picture], seed: int) -> Pool:
    """Classify pictures; those that cannot be decoded are left out.

    Raises:
        UserError: there is no exported model, or none that shows its features.
    """
    from PIL import Image

    form = formats.quickest(EXPORTS)
    exported = formats.load(EXPORTS / form.file)
    height, width = ModelSpec.load(MODELS).backbone.size
    halves = form.halves(EXPORTS / form.file) if form.halves else None
    rows = np.sort(stream(seed, "review", "pool").permutation(len(pictures))[:LARGEST])
    used, pixels = [], []
    for row in progress(rows, len(rows), "unlabelled"):
        try:
            image = Image.fromarray(decode(pictures[row].path, max_pixels=MAX_PIXELS))
        except UserError:
            continue
        used.append(pictures[row])
        pixels.append(np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)))
    features, probabilities = [], []
    for start in range(0, len(used), BATCH):
        batch = np.stack(pixels[start : start + BATCH])
        if halves:
            joint = halves.features(batch)
            features.append(joint.reshape(len(batch), -1))
            probabilities.append(halves.probabilities(joint))
        else:
            probabilities.append(exported.probabilities(batch))
    classes = exported.classes
    if not used:
        return Pool([], np.empty((0, 1)), np.empty((0, len(classes))), classes)
    joined = np.concatenate(probabilities)
    return Pool(used, np.concatenate(features) if features else joined, joined, classes)
