"""Labels that look wrong, by Confident Learning (Northcutt, Jiang and Chuang, Confident Learning: Estimating
Uncertainty in Dataset Labels, 2021).

A logistic regression on features says what each picture is, without having seen it or a near-duplicate of it. From how
often it is sure of another class than the label, the number of wrong labels is estimated, for each class and for each
pair of classes; so many of the least credible labels are suspects, those that are among them by both counts.
The settings were measured with `python -m benchmarks.labels`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from darkroom.core.files import read_csv
from darkroom.core.paths import FEATURES, GROUPS, SPLIT
from darkroom.core.seeds import derive, stream
from darkroom.images.folders import PARTS, listed
from darkroom.models.classifier import Classifier
from darkroom.models.inputs import Features, Held, Inputs, Pictures

FOLDS = 5
WIDEST = 512  # features; more are brought down to …
COMPONENTS = 256  # … so many
SAMPLE = 2000  # rows that say which
C = 3.0  # of the regression, for rows of length 1: with less it sees less, with more it learns wrong labels by heart
VALUES = 2**25  # features in memory at a time


class Suspect(NamedTuple):
    """A picture whose label looks wrong."""

    path: str
    split: str
    label: str
    suggested: str
    quality: float  # out-of-sample probability of its label, 0 to 1


def suspects(model: Classifier, seed: int) -> list[Suspect]:
    """The labels that look wrong in train, val and test, the worst first; augmented pictures do not count.

    What the pictures are judged by are the features that `extract` wrote. A network from scratch has none; there it is
    what its last hidden layer gives, which knows the labels of train, so that fewer of those are found. Classes that
    have not at least two pictures that are no near-duplicates are left out.

    Args:
        model: the trained model.
        seed: of the folds and the components.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    parts = [_inputs(model, part) for part in PARTS]
    own = [np.flatnonzero([Path(path).is_relative_to(SPLIT) for path in inputs.paths]) for inputs in parts]
    rows = [(part, inputs.paths[row]) for part, inputs, chosen in zip(PARTS, parts, own, strict=True) for row in chosen]
    labels = np.concatenate(
        [inputs.numbers(model.spec.classes)[chosen] for inputs, chosen in zip(parts, own, strict=True)]
    )
    folds = folded(labels, _groups(rows), seed)
    used = np.flatnonzero(folds >= 0)
    if not len(used):
        return []
    known, given = np.unique(labels[used], return_inverse=True)
    probabilities = out_of_sample(reduced(parts, own, seed)[used], given, folds[used])
    names = np.array(model.spec.classes)[known]
    issues = find_label_issues(given, probabilities, filter_by="both", n_jobs=1)
    guessed, quality = probabilities.argmax(axis=1), get_label_quality_scores(given, probabilities).round(4)
    found = [
        Suspect(path, part, str(names[given[i]]), str(names[guessed[i]]), float(quality[i]))
        for i, (part, path) in enumerate(rows[row] for row in used)
        if issues[i]
    ]
    return sorted(found, key=lambda suspect: (suspect.quality, suspect.path))


def reduced(
    parts: Sequence[Inputs], chosen: Sequence[np.ndarray], seed: int, components: int = COMPONENTS
) -> np.ndarray:
    """Features as the regression takes them, of the chosen rows of all parts: float32 (rows, at most WIDEST).

    Square root and length 1, as the heads have it; where they are many, principal components, found on some rows of the
    first part.
    """
    from sklearn.decomposition import PCA

    first, rows = parts[0], chosen[0]
    wide = first.rows(rows[:1]).shape[1]
    size = max(1, VALUES // wide)
    fitted = None
    if wide > WIDEST:
        generator = stream(seed, "label noise", "sample")
        sample = np.sort(generator.permutation(rows)[: min(SAMPLE, size)])
        drawn = derive(seed, "label noise", "components")
        fitted = PCA(min(components, len(sample)), svd_solver="randomized", random_state=drawn)
        fitted.fit(_prepared(first.rows(sample)))
    result = []
    for inputs, rows in zip(parts, chosen, strict=True):
        for start in range(0, len(rows), size):
            prepared = _prepared(inputs.rows(rows[start : start + size]))
            result.append(fitted.transform(prepared) if fitted else prepared)
    return np.concatenate(result)


def folded(labels: np.ndarray, groups: list[str], seed: int) -> np.ndarray:
    """Each row's fold, from 0 on, or -1 for rows that are left out; groups stay together, classes are spread evenly.

    A group counts as one picture, with the label of its first row. Classes with fewer than two are left out, and there
    are no more folds than the smallest of the others has.
    """
    from sklearn.model_selection import StratifiedKFold

    folds = np.full(len(labels), -1)
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    counts = np.bincount(labels[first], minlength=labels.max() + 1)
    large = counts >= 2
    units = np.flatnonzero(large[labels[first]])
    if large.sum() < 2:
        return folds
    of_unit = np.full(len(first), -1)
    splitter = StratifiedKFold(min(FOLDS, counts[large].min()), shuffle=True, random_state=derive(seed, "label noise"))
    for fold, (_, tested) in enumerate(splitter.split(units, labels[first][units])):
        of_unit[units[tested]] = fold
    return np.where(large[labels], of_unit[member], -1)


def out_of_sample(features: np.ndarray, labels: np.ndarray, folds: np.ndarray, c: float = C) -> np.ndarray:
    """Probabilities (rows, classes), of each row by a logistic regression on all folds but its own."""
    from sklearn.linear_model import LogisticRegression

    centred = features - features.mean(axis=0)
    spread = max(float(centred.std()), 1e-12)
    centred /= spread  # of one size, and so solved in a few steps
    result = np.empty((len(labels), labels.max() + 1))
    for fold in np.unique(folds):
        regression = LogisticRegression(C=c * spread**2, tol=0.01, max_iter=300)
        regression.fit(centred[folds != fold], labels[folds != fold])
        result[folds == fold] = regression.predict_proba(centred[folds == fold])
    return result


def _prepared(features: np.ndarray) -> np.ndarray:
    rooted = np.sign(features) * np.sqrt(np.abs(features))
    return rooted / np.maximum(np.linalg.norm(rooted, axis=1, keepdims=True), 1e-12)


def _inputs(model: Classifier, part: str) -> Inputs:
    """What the pictures of a part are judged by."""
    backbone = model.spec.backbone
    if backbone.name is not None:
        return Features(FEATURES, part, backbone.layers)
    import keras

    from darkroom.models import heads

    pictures = Pictures([picture for picture in listed(part) if picture.path.is_relative_to(SPLIT)], backbone.size)
    return Held(heads.run(keras.Model(model.head.input, model.head.layers[-1].input), pictures), pictures)


def _groups(rows: list[tuple[str, str]]) -> list[str]:
    """What each picture, given as part and path, stays together with: its near-duplicates, or nothing but itself."""
    known = {row["picture"]: row["group"] for row in read_csv(GROUPS)}
    groups = []
    for part, path in rows:
        name = Path(path).relative_to(SPLIT / part).as_posix()
        # A picture of an official part is there in data/raw too, all others are in train.
        groups.append(known.get(f"{part}/{name}", known.get(f"train/{name}")) or path)
    return groups
