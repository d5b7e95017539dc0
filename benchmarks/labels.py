"""Compare classifiers for finding wrong labels, on the features that `extract` wrote.

    python -m benchmarks.labels [SEEDS]

One label in twenty is replaced by another one at random. Accuracy is that of the out-of-sample predictions with respect
to the original labels. Average precision measures how high the replaced labels rank when pictures are ordered by the
probability of their label (self-confidence), or by how far it lies below the largest other probability (margin).
Precision and recall are those of the label issues that are found. Labels that were wrong from the start count as right,
so with such labels no figure can reach 1.
"""

import functools
import json
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier

from darkroom.core.paths import EXTRACT_REPORT, FEATURES, SPLIT
from darkroom.core.seeds import stream
from darkroom.evaluate import embedding, label_noise
from darkroom.images.folders import PARTS
from darkroom.models.inputs import Features

SHARE = 0.05
NEIGHBOURS = 20
Classify = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # features, labels, folds to probabilities


def variants(wide: bool) -> Iterator[tuple[str, int, Classify]]:
    """Yield name, number of principal components (where features are many), and classifier."""
    default = embedding.COMPONENTS
    for c in (1.0, label_noise.C, 10.0, 30.0):
        yield f"logistic, C {c:g}", default, functools.partial(label_noise.out_of_sample, c=c)
    for components in (64, 128, 512) if wide else ():
        yield f"logistic, {components} components", components, label_noise.out_of_sample
    yield "logistic, radial kernel", default, kernel
    yield f"{NEIGHBOURS} neighbours", default, neighbours


def kernel(features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Logistic regression on kernel features (Williams and Seeger, Using the Nyström Method, 2001)."""
    gamma = 1 / (features.shape[1] * features.var(axis=0).mean())
    mapped = Nystroem(gamma=gamma, n_components=min(1000, len(features)), random_state=0).fit_transform(features)
    return label_noise.out_of_sample(mapped, labels, folds, 5.0)


def neighbours(features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """The share of each class among the nearest neighbours in the other folds."""
    result = np.empty((len(labels), labels.max() + 1))
    for fold in np.unique(folds):
        classifier = KNeighborsClassifier(NEIGHBOURS).fit(features[folds != fold], labels[folds != fold])
        result[folds == fold] = classifier.predict_proba(features[folds == fold])
    return result


def swapped(labels: np.ndarray, seed: int) -> np.ndarray:
    """Replace a random share of the labels by other ones."""
    generator, classes = stream(seed, "swap"), labels.max() + 1
    chosen = generator.choice(len(labels), round(SHARE * len(labels)), replace=False)
    result = labels.copy()
    result[chosen] = (labels[chosen] + generator.integers(1, classes, len(chosen))) % classes
    return result


def main(seeds: int) -> None:
    """Print a row of a Markdown table for each variant."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    layers = json.loads(EXTRACT_REPORT.read_text())["layers"]
    inputs = [Features(FEATURES, part, layers) for part in PARTS]
    originals = [np.flatnonzero([path.startswith(f"{SPLIT}/") for path in each.paths]) for each in inputs]
    names = np.concatenate([np.array(each.labels)[rows] for each, rows in zip(inputs, originals, strict=True)])
    paths = [each.paths[row] for each, rows in zip(inputs, originals, strict=True) for row in rows]
    true = np.unique(names, return_inverse=True)[1]
    width = inputs[0].rows(slice(0, 1)).shape[1]
    print(f"{len(true):,} pictures, {width:,} features, {true.max() + 1} classes, {seeds} seeds\n")
    print("| classifier | accuracy | AP by self-confidence | AP by margin | both: P, R | noise rate: P, R | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, components, classify in variants(width > embedding.WIDEST):
        figures = []
        for seed in range(seeds):
            started = time.perf_counter()
            labels = swapped(true, seed)
            features = embedding.reduced(inputs, originals, seed, components)
            folds = label_noise.assign_folds(labels, paths, seed)
            probabilities = classify(features, labels, folds)
            seconds = time.perf_counter() - started
            wrong, row = labels != true, [float((probabilities.argmax(axis=1) == true).mean())]
            for method in ("self_confidence", "normalized_margin"):
                quality = get_label_quality_scores(labels, probabilities, method=method)
                row.append(average_precision_score(wrong, -quality))
            for rule in ("both", "prune_by_noise_rate"):
                issues = find_label_issues(labels, probabilities, filter_by=rule, n_jobs=1)
                row += [wrong[issues].mean(), issues[wrong].mean()]
            figures.append([*row, seconds])
        accuracy, confidence, margin, p, r, p2, r2, seconds = np.mean(figures, axis=0)
        print(
            f"| {name} | {accuracy:.3f} | {confidence:.3f} | {margin:.3f} | {p:.2f}, {r:.2f} | {p2:.2f}, {r2:.2f} "
            f"| {seconds:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
