"""Pictures that look alike to a network, on made-up features."""

import numpy as np

from darkroom.evaluate.embedding import nearest


def test_nearest_are_those_of_the_candidates_with_the_smallest_angle():
    features = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    candidates = np.arange(0, 50, 2)
    expected = [row for row in np.argsort(-(unit @ unit[4])) if row in candidates and row != 4][:5]
    assert nearest(features * 3, 4, candidates, 5).tolist() == expected
