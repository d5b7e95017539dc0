"""Soft labels from a teacher, a model that was trained earlier (Hinton et al., Distilling the Knowledge in a Neural
Network, 2015).

The teacher sees each picture once, as it is in the file, and its probabilities are cached; online transforms change
what the student sees, not its labels.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from darkroom.core import precision
from darkroom.core.errors import UserError
from darkroom.core.hashing import code_digest, sha256
from darkroom.core.model_spec import model_sha256
from darkroom.core.row_cache import RowCache
from darkroom.core.terminal import progress
from darkroom.images.folders import Picture
from darkroom.models.classifier import Classifier
from darkroom.models.inputs import Inputs, Pictures
from darkroom.train.params import Descent

BATCH = 32
CHUNK = 16 * BATCH  # pictures that a killed process loses at most


def soft_labels(one_hot: np.ndarray, inputs: Inputs, classes: Sequence[str], descent: Descent) -> np.ndarray:
    """The mean of one-hot labels and the teacher's softened probabilities, float32 (rows, classes).

    Args:
        one_hot: labels (rows, classes).
        inputs: the training rows; the teacher sees their pictures.
        classes: in the order of the columns.
        descent: the teacher's folder, weight and temperature.

    Raises:
        UserError: the folder holds no model, or one of other classes.
    """
    folder = Path(str(descent.teacher))
    model = Classifier.load(folder)
    if list(model.spec.classes) != list(classes):
        raise UserError(
            f"train.teacher: {folder} knows the classes {', '.join(model.spec.classes)}, but these pictures have "
            f"{', '.join(classes)}."
        )
    given = probabilities(model, folder, [Path(path) for path in inputs.paths]).astype(np.float64)
    softened = np.maximum(given, 1e-12) ** (1 / descent.teacher_temperature)
    softened /= softened.sum(axis=1, keepdims=True)
    weight = descent.teacher_weight
    return ((1 - weight) * one_hot + weight * softened).astype(np.float32)


def probabilities(model: Classifier, folder: Path, paths: Sequence[Path]) -> np.ndarray:
    """The probabilities (pictures, classes) that a model gives picture files, float32."""
    digests = [sha256(path) for path in paths]
    path_of = dict(zip(digests, paths, strict=True))
    machine = [keras.__version__, tf.__version__, *sorted(precision.cpu_flags())]
    cache = RowCache("teacher", {"model": model_sha256(folder), "code": code_digest("models"), "machine": machine})
    missing = cache.missing(digests)
    if missing:
        batches = progress(
            predictions(model, [path_of[digest] for digest in missing]), len(missing), "teacher", step=BATCH
        )
        for start in range(0, len(missing), CHUNK):
            rows = np.concatenate(list(islice(batches, CHUNK // BATCH)))
            cache.add(missing[start : start + CHUNK], {"probabilities": rows})
    return cache.rows(digests, "probabilities")


def predictions(model: Classifier, paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """The same without a cache, in batches."""
    whole = model.whole()
    call = tf.function(lambda pixels: whole(pixels, training=False))
    pictures = Pictures([Picture(path, "") for path in paths], model.spec.backbone.size)
    for start in range(0, len(paths), BATCH):
        yield call(pictures.rows(slice(start, start + BATCH))).numpy()
