"""Which pictures stand alone, or are worth a label, on made-up features."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.commands.review import similarity


def rows(count, width=6, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def test_a_picture_that_stands_alone_is_an_outlier(monkeypatch):
    features = np.concatenate(
        [rows(40) * 0.05 + np.eye(6)[0], rows(40, seed=1) * 0.05 + np.eye(6)[1], -np.ones((1, 6))]
    )
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    others = np.sort(unit @ unit.T - 9 * np.eye(81), axis=1)[:, ::-1]
    whole = similarity.outliers(features, 5)
    assert whole[0] == 80
    assert whole.tolist() == np.argsort(others[:, :10].mean(axis=1))[:5].tolist()
    monkeypatch.setattr(similarity, "CHUNK", 200)
    assert similarity.outliers(features, 5).tolist() == whole.tolist()
    assert similarity.outliers(features[:1], 5).tolist() == []


@settings(max_examples=20)
@given(count=st.integers(1, 60), wanted=st.integers(1, 10), seed=st.integers(0, 9))
def test_an_informative_choice_is_uncertain_and_has_no_picture_twice(count, wanted, seed):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(3), count)
    chosen = similarity.informative(rows(count, seed=seed), probabilities, wanted, seed)
    assert 1 <= len(chosen) <= wanted
    assert len(set(chosen.tolist())) == len(chosen)
    ordered = np.sort(probabilities, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    assert margins[chosen].tolist() == sorted(margins[chosen])
    assert margins[chosen].max() <= np.sort(margins)[: 10 * wanted].max()


def test_of_pictures_that_are_alike_one_is_chosen():
    """Ten copies of each of five pictures, all equally uncertain."""
    features = np.repeat(np.eye(5, 6, dtype=np.float32), 10, axis=0) + rows(50) * 0.01
    chosen = similarity.informative(features, np.full((50, 2), 0.5), 5, 1)
    assert sorted(row // 10 for row in chosen) == [0, 1, 2, 3, 4]
