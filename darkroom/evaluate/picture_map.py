"""A map of the pictures on which those that look alike to the network are near each other.

Positions are by t-SNE (van der Maaten and Hinton, Visualizing Data using t-SNE, 2008), computed for `LANDMARKS`
pictures; all others lie at the mean of the landmarks that they are most similar to.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from darkroom.core.parallel import cores
from darkroom.core.seeds import derive, stream
from darkroom.core.terminal import progress
from darkroom.drawing.figures import short
from darkroom.evaluate.embedding import Embedding, scaled
from darkroom.evaluate.galleries import small
from darkroom.images.decode import decode
from darkroom.images.folders import PARTS

if TYPE_CHECKING:
    from darkroom.evaluate.predictions import Predictions

LANDMARKS, STEPS = 1000, 500
LEAST = 5  # pictures, for a map
NEAREST = 3  # landmarks, of which a picture lies at the mean
SIMILAR = 5  # pictures that are shown beside the selected one
GRID = 10_000  # positions are whole numbers up to this
SIDES = ((1000, 64), (4000, 40))  # pixels of a thumbnail's side for so many pictures, and for more:
SMALLEST_SIDE = 28
CHUNK = 512  # pictures whose similarities to all others are in memory


def draw(
    embedding: Embedding, predictions: Mapping[str, "Predictions"], classes: Sequence[str], count: int, seed: int
) -> dict[str, Any] | None:
    """What the report needs to draw the map; None for fewer than `LEAST` pictures.

    Args:
        embedding: of train, val and test.
        predictions: on all of them.
        classes: of the model.
        count: of the pictures on it, at most: those of test, then others, chosen by the seed.
        seed: of the choice, and of t-SNE.
    """
    rows = choose([part for part, _ in embedding.pictures], count, seed)
    if len(rows) < LEAST:
        return None
    features = scaled(embedding.features[rows])
    places = positions(features, seed)
    pictures = [embedding.pictures[row] for row in rows]
    predicted = {
        (part, path): (int(label), int(values.argmax()), float(values.max()))
        for part, each in predictions.items()
        for path, label, values in zip(each.paths, each.labels, each.probabilities, strict=True)
    }
    side = next((side for most, side in SIDES if len(rows) <= most), SMALLEST_SIDE)
    columns = int(np.ceil(np.sqrt(len(rows))))
    return {
        "classes": [short(name, 60) for name in classes],
        "parts": PARTS,
        "grid": GRID,
        "side": side,
        "columns": columns,
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "part": [PARTS.index(part) for part, _ in pictures],
        "label": [predicted[picture][0] for picture in pictures],
        "predicted": [predicted[picture][1] for picture in pictures],
        "confidence": [round(1000 * predicted[picture][2]) for picture in pictures],
        "name": [Path(path).name for _, path in pictures],
        "similar": similar(features).tolist(),
        "total": len(embedding.pictures),
        "thumbnails": thumbnails([path for _, path in pictures], side, columns),
    }


def choose(parts: Sequence[str], count: int, seed: int) -> np.ndarray:
    """Rows of the pictures on the map, in their order."""
    shuffled = stream(seed, "map").permutation(len(parts))
    of_test = np.array([part == "test" for part in parts])[shuffled]
    return np.sort(np.concatenate([shuffled[of_test], shuffled[~of_test]])[:count])


def positions(features: np.ndarray, seed: int) -> np.ndarray:
    """Whole numbers from 0 to `GRID` (pictures, 2), the same for the same features and seed.

    Args:
        features: of length 1 (pictures, n).
        seed: of the landmarks and of t-SNE.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    landmarks = np.sort(stream(seed, "landmarks").permutation(len(features))[:LANDMARKS])
    differ = features.shape[1] > 1 and np.ptp(features[landmarks], axis=0).max() > 0
    method = TSNE(
        perplexity=min(30.0, (len(landmarks) - 1) / 3),
        init="pca" if differ else "random",
        max_iter=STEPS,
        random_state=derive(seed, "map"),
    )
    with threadpool_limits(1, "openmp"):  # several threads would add up in random order
        placed = method.fit_transform(features[landmarks])
    places = np.empty((len(features), 2), np.float32)
    for start in range(0, len(features), CHUNK):
        alike = features[start : start + CHUNK] @ features[landmarks].T
        nearest = np.argsort(-alike, axis=1, kind="stable")[:, :NEAREST]
        places[start : start + CHUNK] = placed[nearest].mean(axis=1)
    places[landmarks] = placed
    low, high = places.min(axis=0), places.max(axis=0)
    return np.round(GRID * (places - low) / np.maximum(high - low, 1e-12)).astype(int)


def similar(features: np.ndarray) -> np.ndarray:
    """For each picture those that are most similar to it, the most similar first (pictures, at most `SIMILAR`)."""
    count, chunks = min(SIMILAR, len(features) - 1), []
    for start in range(0, len(features), CHUNK):
        alike = features[start : start + CHUNK] @ features.T
        alike[np.arange(len(alike)), start + np.arange(len(alike))] = -np.inf
        best = np.argpartition(-alike, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(alike, best, axis=1), axis=1, kind="stable")
        chunks.append(np.take_along_axis(best, order, axis=1))
    return np.concatenate(chunks)


def thumbnails(files: Sequence[str], side: int, columns: int) -> str:
    """All pictures in one JPEG file, in rows of `columns` squares, in base64."""
    sheet = Image.new("RGB", (side * columns, side * -(-len(files) // columns)), "white")
    with ThreadPoolExecutor(cores()) as pool:
        shrunk = pool.map(lambda file: small(decode(Path(file)), side), files)
        for place, pixels in enumerate(progress(shrunk, len(files), "map")):
            row, column = divmod(place, columns)
            height, width = pixels.shape[:2]
            corner = (side * column + (side - width) // 2, side * row + (side - height) // 2)
            sheet.paste(Image.fromarray(pixels), corner)
    content = io.BytesIO()
    sheet.save(content, "JPEG", quality=70)
    return base64.b64encode(content.getvalue()).decode()
