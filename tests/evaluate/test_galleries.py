"""Which pictures are shown."""

import numpy as np
import pytest

from darkroom.evaluate import galleries
from darkroom.evaluate.embedding import Embedding
from tests.helpers.evaluation import predictions


def rows_of(labels, given):
    return predictions(["a.png"], np.array(labels), np.array(given))


def test_mistakes_come_most_confident_first_and_successes_least_confident_first():
    test = rows_of([0, 0, 1, 1, 1], [[0.6, 0.4], [0.1, 0.9], [0.7, 0.3], [0.2, 0.8], [0.45, 0.55]])
    assert galleries.most_confident_mistakes(test, 5).tolist() == [1, 2]
    assert galleries.most_confident_mistakes(test, 1).tolist() == [1]
    assert galleries.least_confident_successes(test, 2).tolist() == [4, 0]


@pytest.mark.parametrize(
    ("wrong", "right", "count", "expected"),
    [
        (10, 10, 6, (3, 3)),
        (1, 10, 6, (1, 5)),
        (10, 1, 6, (5, 1)),
        (0, 4, 6, (0, 4)),
        (9, 9, 1, (1, 0)),
        (2, 2, 9, (2, 2)),
    ],
)
def test_half_of_the_explained_pictures_are_mistakes(wrong, right, count, expected):
    test = rows_of([1] * wrong + [0] * right, np.tile([0.9, 0.1], (wrong + right, 1)))
    rows = galleries.sample(test, count, np.random.default_rng(0))
    assert len(set(rows.tolist())) == len(rows)
    assert ((rows < wrong).sum(), (rows >= wrong).sum()) == expected
    assert all(np.diff((rows >= wrong).astype(int)) >= 0)  # mistakes first


def test_each_mistake_is_shown_with_the_training_pictures_that_look_most_like_it(pictures, tmp_path, monkeypatch):
    """Twelve pictures in two directions: the mistake lies with those of the other class."""
    paths = [str(path) for path in pictures[:14]]
    parts = ["train"] * 12 + ["test"] * 2
    angles = np.concatenate([np.linspace(0, 0.5, 6), np.linspace(1, 1.5, 6), [0.05, 1.3]])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    labels = np.array([0] * 6 + [1] * 6 + [0, 0])
    test = predictions(pictures[12:14], labels[12:], np.array([[0.9, 0.1], [0.2, 0.8]]))
    grids = []
    monkeypatch.setattr(galleries, "_grid", lambda cells, target: grids.append([caption for _, caption in cells]))
    embedding = Embedding(list(zip(parts, paths, strict=True)), labels, features)
    galleries.similar(test, embedding, ["cat", "dog"], 24, tmp_path / "similar.png")
    (captions,) = grids
    assert captions[0] == "test:\ncat\npredicted dog"
    assert captions[1:] == [f"train:\ndog\nsimilarity {np.cos(angle):.2f}" for angle in (0, 0.1, 0.1, 0.2, 0.2)]
