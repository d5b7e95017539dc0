"""Labels that look wrong, by Confident Learning (Northcutt, Jiang and Chuang, Confident Learning: Estimating
Uncertainty in Dataset Labels, 2021).

A logistic regression on features predicts the class of each picture, trained without the picture and its
near-duplicates. From how often it is confident in another class than the label, the number of wrong labels is estimated
for each class and for each pair of classes, and as many of the least probable labels are selected; those selected by
both counts are reported. The settings were chosen with `python -m benchmarks.labels`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from darkroom.core import outputs
from darkroom.core.files import read_csv
from darkroom.core.paths import GROUPS, SPLIT
from darkroom.core.seeds import derive
from darkroom.core.terminal import progress
from darkroom.evaluate.embedding import Embedding

FOLDS = 5
C = 3.0  # of the regression, on rows of length 1: with less it underfits, with more it memorises wrong labels


class LabelQuality(NamedTuple):
    """How likely the label of a picture is."""

    path: str
    split: str
    label: str
    suggested: str  # the most probable other class
    quality: float  # out-of-sample probability of the label, 0 to 1
    suggested_quality: float  # that of the suggested class
    issue: bool = True  # whether the label looks wrong


def assess(embedding: Embedding, classes: Sequence[str], seed: int) -> list[LabelQuality]:
    """Assess the labels in train, val and test, the worst first; augmented pictures are ignored.

    For a network from scratch, whose last hidden layer was trained on the labels of train, fewer of their errors are
    found. Classes with fewer than two pictures that are not near-duplicates are left out.

    Args:
        embedding: of these pictures.
        classes: of the model.
        seed: of the folds.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    pictures, labels, features = embedding
    folds = assign_folds(labels, _groups(pictures), seed)
    used = np.flatnonzero(folds >= 0)
    if not len(used):
        return []
    present, numbers = np.unique(labels[used], return_inverse=True)
    if len(used) < len(features):
        features = features[used]
    probabilities = out_of_sample(features, numbers, folds[used])
    names = np.array(classes)[present]
    suspect = find_label_issues(numbers, probabilities, filter_by="both", n_jobs=1)
    quality = get_label_quality_scores(numbers, probabilities).round(4)
    probabilities[np.arange(len(numbers)), numbers] = -1
    suggested, others = names[probabilities.argmax(axis=1)], probabilities.max(axis=1).round(4)
    columns = (column.tolist() for column in (names[numbers], suggested, quality, others, suspect))
    assessed = [
        LabelQuality(path, part, *values)
        for (part, path), *values in zip((pictures[row] for row in used), *columns, strict=True)
    ]
    return sorted(assessed, key=lambda label: (label.quality, label.path))


def assign_folds(labels: np.ndarray, groups: Sequence[str], seed: int) -> np.ndarray:
    """The fold of each row, from 0, or -1 if it is left out; groups stay together, and classes are spread evenly.

    A group counts as one picture, with the label of its first row. Classes with fewer than two are left out, and there
    are no more folds than the smallest remaining class has pictures.
    """
    from sklearn.model_selection import StratifiedKFold

    left_out = np.full(len(labels), -1)
    _, first, group_of_row = np.unique(groups, return_index=True, return_inverse=True)
    counts = np.bincount(labels[first], minlength=labels.max() + 1)
    large = counts >= 2
    kept = np.flatnonzero(large[labels[first]])
    if large.sum() < 2:
        return left_out
    fold_of_group = np.full(len(first), -1)
    splitter = StratifiedKFold(min(FOLDS, counts[large].min()), shuffle=True, random_state=derive(seed, "label noise"))
    for fold, (_, test) in enumerate(splitter.split(kept, labels[first][kept])):
        fold_of_group[kept[test]] = fold
    return np.where(large[labels], fold_of_group[group_of_row], -1)


def out_of_sample(features: np.ndarray, labels: np.ndarray, folds: np.ndarray, c: float = C) -> np.ndarray:
    """Probabilities (rows, classes) by logistic regression, of each row by the one fitted on all other folds.

    The features are copied for one fold at a time only: there may be hundreds of thousands of rows.
    """
    from sklearn.linear_model import LogisticRegression

    mean = features.mean(axis=0, dtype=np.float64)
    square = np.einsum("ij,ij->", features, features, dtype=np.float64) / features.size  # numpy's `var` copies them
    spread = max(float(square - (mean**2).mean()), 0.0) ** 0.5 or 1e-12

    def scaled(chosen: np.ndarray) -> np.ndarray:
        rows = features[chosen]
        rows -= mean
        rows /= spread  # unit variance, so that the solver needs few steps
        return rows

    result = np.empty((len(labels), labels.max() + 1))
    numbers = np.unique(folds)
    for fold in progress(numbers, len(numbers), "looking for wrong labels", "folds"):
        regression = LogisticRegression(C=c * spread**2, tol=0.01, max_iter=300)
        regression.fit(scaled(folds != fold), labels[folds != fold])
        result[folds == fold] = regression.predict_proba(scaled(folds == fold))
    return result


def _groups(pictures: Sequence[tuple[str, str]]) -> list[str]:
    """The group of near-duplicates of each picture, given as split and path; its own path where it has none."""
    group_of = {row["picture"]: row["group"] for row in read_csv(GROUPS, ("picture", "group"))}
    groups = []
    for part, path in pictures:
        name = Path(path).relative_to(SPLIT / part).as_posix()
        # Pictures of an official part lie in that part of data/raw, all others in train.
        group = group_of.get(f"{part}/{name}", group_of.get(f"train/{name}"))
        if group is None:
            raise outputs.damaged(GROUPS, f"it does not list {name}")
        groups.append(group or path)
    return groups
