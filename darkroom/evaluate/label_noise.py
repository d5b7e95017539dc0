"""Labels that look wrong, by Confident Learning (Northcutt, Jiang and Chuang, Confident Learning: Estimating
Uncertainty in Dataset Labels, 2021).

A logistic regression on features predicts the class of each picture, trained without the picture and its
near-duplicates. From how often it is confident in another class than the label, the number of wrong labels is estimated
for each class and for each pair of classes, and as many of the least probable labels are selected; those selected by
both counts are reported. The settings were chosen with `python -m benchmarks.labels`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from darkroom.core import outputs
from darkroom.core.files import read_csv
from darkroom.core.paths import FEATURES, GROUPS, SPLIT
from darkroom.core.seeds import derive, stream
from darkroom.core.terminal import progress
from darkroom.images.folders import PARTS, Picture, listed
from darkroom.models.classifier import Classifier
from darkroom.models.inputs import Features, Inputs, Pictures

if TYPE_CHECKING:
    import keras

FOLDS = 5
WIDEST = 512  # features; more are reduced to …
COMPONENTS = 256  # … so many principal components
SAMPLE = 2000  # rows that the components are fitted on
C = 3.0  # of the regression, on rows of length 1: with less it underfits, with more it memorises wrong labels
VALUES = 2**25  # features of the sample, at most
CHUNK = 2**21  # features that are prepared at a time, which takes several copies of them


class LabelIssue(NamedTuple):
    """A picture whose label looks wrong."""

    path: str
    split: str
    label: str
    suggested: str
    quality: float  # out-of-sample probability of the label, 0 to 1


def find_issues(model: Classifier, seed: int) -> list[LabelIssue]:
    """Find the labels that look wrong in train, val and test, the worst first; augmented pictures are ignored.

    The regression takes the features that `extract` wrote. For a network from scratch, which has none, it takes the
    output of the last hidden layer; that was trained on the labels of train, so fewer of their errors are found.
    Classes with fewer than two pictures that are not near-duplicates are left out.

    Args:
        model: the trained model.
        seed: of the folds and the principal components.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    inputs = [_inputs(model, part) for part in PARTS]
    originals = [np.flatnonzero([Path(path).is_relative_to(SPLIT) for path in each.paths]) for each in inputs]
    pictures = [
        (part, each.paths[row]) for part, each, rows in zip(PARTS, inputs, originals, strict=True) for row in rows
    ]
    labels = np.concatenate(
        [each.numbers(model.spec.classes)[rows] for each, rows in zip(inputs, originals, strict=True)]
    )
    folds = assign_folds(labels, _groups(pictures), seed)
    used = np.flatnonzero(folds >= 0)
    if not len(used):
        return []
    present, numbers = np.unique(labels[used], return_inverse=True)
    features = reduced(inputs, originals, seed)
    if len(used) < len(features):
        features = features[used]
    probabilities = out_of_sample(features, numbers, folds[used])
    names = np.array(model.spec.classes)[present]
    suspect = find_label_issues(numbers, probabilities, filter_by="both", n_jobs=1)
    suggested, quality = probabilities.argmax(axis=1), get_label_quality_scores(numbers, probabilities).round(4)
    issues = [
        LabelIssue(path, part, str(names[numbers[i]]), str(names[suggested[i]]), float(quality[i]))
        for i, (part, path) in enumerate(pictures[row] for row in used)
        if suspect[i]
    ]
    return sorted(issues, key=lambda issue: (issue.quality, issue.path))


def reduced(
    inputs: Sequence[Inputs], chosen: Sequence[np.ndarray], seed: int, components: int = COMPONENTS
) -> np.ndarray:
    """Features for the regression, of the chosen rows of each input: float32 (rows, at most `WIDEST`).

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


def _prepared(features: np.ndarray) -> np.ndarray:
    rooted = np.sign(features) * np.sqrt(np.abs(features))
    return rooted / np.maximum(np.linalg.norm(rooted, axis=1, keepdims=True), 1e-12)


def _inputs(model: Classifier, part: str) -> Inputs:
    """What the regression takes: the features of a split, or the last hidden layer of a network from scratch."""
    backbone = model.spec.backbone
    if backbone.name is not None:
        return Features(FEATURES, part, backbone.layers)
    import keras

    hidden = keras.Model(model.head.input, model.head.layers[-1].input)
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
