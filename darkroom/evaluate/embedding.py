"""All labelled pictures in one space, in which those that look alike to a network are close to each other."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from darkroom.core.model_spec import ModelSpec
from darkroom.core.paths import FEATURES, SPLIT
from darkroom.core.seeds import derive, stream
from darkroom.core.terminal import progress
from darkroom.images.folders import PARTS, Picture, listed
from darkroom.models.classifier import Classifier
from darkroom.models.inputs import Features, Inputs, Pictures

if TYPE_CHECKING:
    import keras

WIDEST = 512  # features; more are reduced to …
COMPONENTS = 256  # … so many principal components
SAMPLE = 2000  # rows that the components are fitted on
VALUES = 2**25  # features of the sample, at most
CHUNK = 2**21  # features that are prepared at a time, which takes several copies of them


class Embedding(NamedTuple):
    """The pictures of train, val and test, in this order; augmented ones are not among them."""

    pictures: list[tuple[str, str]]  # split and path
    labels: np.ndarray  # class numbers (pictures,)
    features: np.ndarray  # float32 (pictures, features)


def embed(spec: ModelSpec, load: Callable[[], Classifier], seed: int) -> Embedding:
    """Embed the pictures by the features that `extract` wrote.

    For a network from scratch, which has none, by the output of its last hidden layer.

    Args:
        spec: of the trained model.
        load: loads the model, which takes long; only a network from scratch is needed.
        seed: of the principal components.
    """
    inputs = [_inputs(spec, load, part) for part in PARTS]
    originals = [np.flatnonzero([Path(path).is_relative_to(SPLIT) for path in each.paths]) for each in inputs]
    pictures = [
        (part, each.paths[row]) for part, each, rows in zip(PARTS, inputs, originals, strict=True) for row in rows
    ]
    labels = np.concatenate([each.numbers(spec.classes)[rows] for each, rows in zip(inputs, originals, strict=True)])
    return Embedding(pictures, labels, reduced(inputs, originals, seed))


def nearest(features: np.ndarray, row: int, candidates: np.ndarray, count: int) -> np.ndarray:
    """The candidates that are most similar to a row by the cosine, the most similar first.

    Args:
        features: (pictures, features).
        row: the picture.
        candidates: rows, among which the picture itself is ignored.
        count: of the result, at most.
    """
    candidates = candidates[candidates != row]
    similarities = scaled(features[candidates]) @ scaled(features[row][None])[0]
    return candidates[np.argsort(-similarities, kind="stable")[:count]]


def scaled(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1, float32."""
    array = np.asarray(rows, np.float32)
    return array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-12)


def reduced(
    inputs: Sequence[Inputs], chosen: Sequence[np.ndarray], seed: int, components: int = COMPONENTS
) -> np.ndarray:
    """The features of the chosen rows of each input: float32 (rows, at most `WIDEST`).

    They are square-rooted and scaled to length 1, as for the classical heads. More than `WIDEST` are reduced to
    principal components, fitted on a sample of the first input.
    """
    from sklearn.decomposition import PCA

    first, rows = inputs[0], chosen[0]
    width = first.rows(rows[:1]).shape[1]
    size = max(1, CHUNK // width)
    pca = None
    if width > WIDEST:
        generator = stream(seed, "label noise", "sample")
        sample = np.sort(generator.permutation(rows)[: min(SAMPLE, max(1, VALUES // width))])
        random_state = derive(seed, "label noise", "components")
        pca = PCA(min(components, len(sample)), svd_solver="randomized", random_state=random_state)
        pca.fit(_prepared(first.rows(sample)))
    chunks = [
        (each, rows[start : start + size])
        for each, rows in zip(inputs, chosen, strict=True)
        for start in range(0, len(rows), size)
    ]
    prepared = (_prepared(each.rows(rows)) for each, rows in progress(chunks, len(chunks), "features", "chunks"))
    result = np.empty((sum(map(len, chosen)), pca.n_components_ if pca else width), np.float32)
    start = 0
    for part in prepared:
        result[start : start + len(part)] = pca.transform(part) if pca else part
        start += len(part)
    return result


def _prepared(features: np.ndarray) -> np.ndarray:
    rooted = np.sign(features) * np.sqrt(np.abs(features))
    return rooted / np.maximum(np.linalg.norm(rooted, axis=1, keepdims=True), 1e-12)


def _inputs(spec: ModelSpec, load: Callable[[], Classifier], part: str) -> Inputs:
    backbone = spec.backbone
    if backbone.name is not None:
        return Features(FEATURES, part, backbone.layers)
    import keras

    head = load().head
    hidden = keras.Model(head.input, head.layers[-1].input)
    pictures = [picture for picture in listed(part) if picture.path.is_relative_to(SPLIT)]
    return _Hidden(hidden, Pictures(pictures, backbone.size))


class _Hidden(Inputs):
    """The output of a hidden layer, computed on demand: that of all pictures may be larger than the pictures."""

    def __init__(self, layer: "keras.Model", pictures: Pictures) -> None:
        super().__init__(pictures.paths, pictures.labels)
        self._layer, self._size = layer, pictures.size

    def rows(self, selection: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Features (rows, n)."""
        from darkroom.models import forward

        numbers = np.arange(len(self))[selection]
        chosen = [Picture(Path(self.paths[number]), self.labels[number]) for number in numbers]
        return forward.run(self._layer, Pictures(chosen, self._size))
