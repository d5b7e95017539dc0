"""Which pictures look alike to a network, which stand alone, and which of many are a diverse choice."""

import numpy as np

from darkroom.evaluate.embedding import scaled

NEIGHBOURS = 10
CHUNK = 2**24  # similarities that are computed at once


def outliers(features: np.ndarray, count: int) -> np.ndarray:
    """The rows that are least similar to their nearest neighbours, the least first.

    Ramaswamy, Rastogi and Shim, Efficient Algorithms for Mining Outliers from Large Data Sets, 2000, with the mean over
    the nearest neighbours and the cosine.
    """
    rows = scaled(features)
    neighbours = min(NEIGHBOURS, len(rows) - 1)
    if neighbours < 1:
        return np.arange(0)
    means = np.empty(len(rows), np.float32)
    step = max(1, CHUNK // len(rows))
    for start in range(0, len(rows), step):
        similarities = rows[start : start + step] @ rows.T
        # Each row is its own nearest neighbour.
        similarities[np.arange(len(similarities)), np.arange(start, start + len(similarities))] = -np.inf
        means[start : start + step] = -np.partition(-similarities, neighbours - 1)[:, :neighbours].mean(axis=1)
    return np.argsort(means, kind="stable")[:count]


def informative(features: np.ndarray, probabilities: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Rows from which a model would learn most: uncertain ones, and of those that are alike only one.

    Of the ten times as many rows with the smallest margin between the two most probable classes, those that are nearest
    to the centres of `count` clusters, weighted by uncertainty (Zhdanov, Diverse Mini-batch Active Learning, 2019).

    Args:
        features: (pictures, features).
        probabilities: (pictures, classes).
        count: of the result, at most.
        seed: of the clusters.

    Returns:
        Rows, the most uncertain first.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import pairwise_distances_argmin

    ordered = np.sort(probabilities, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    candidates = np.argsort(margins, kind="stable")[: 10 * count]
    if len(candidates) > count:
        rows = scaled(features[candidates])
        clusters = KMeans(count, n_init=1, random_state=seed).fit(rows, sample_weight=1.001 - margins[candidates])
        candidates = candidates[np.unique(pairwise_distances_argmin(clusters.cluster_centers_, rows))]
    return candidates[np.argsort(margins[candidates], kind="stable")]
