"""What labels are worth that the review page asks for, against those of pictures drawn at random.

    python -m benchmarks.labelling [--seeds 1 2 3] [--labels 2000] [--plot FILE] [--json FILE]

Needs a finished `dvc repro` with a pretrained backbone. Of the training pictures, 50 of each class have a label at
first. Then, time and again, 50 more get theirs: those that the page would offer, or others at random. Each time, a
logistic regression on the features of all pictures with labels is measured on test. The page itself chooses with the
exported model; here the choice is the regression's, among as many pictures (2,000 at most).
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks import rounds
from darkroom.commands.review import similarity
from darkroom.commands.review.desk import CHOICE
from darkroom.commands.review.pool import LARGEST
from darkroom.core.model_spec import ModelSpec
from darkroom.core.paths import MODELS
from darkroom.core.seeds import stream
from darkroom.evaluate.embedding import embed
from darkroom.models.classifier import Classifier

FIRST = 50  # labels of each class
ORDERS = ("page", "random")


def curve(
    order: str, features: np.ndarray, labels: np.ndarray, train: np.ndarray, count: int, seed: int
) -> list[tuple[int, float]]:
    """The number of labels, and the accuracy on the rows that are not `train`, after each time.

    Args:
        order: of ORDERS.
        features: of all rows.
        labels: class numbers.
        train: rows that may get a label.
        count: labels at the end.
        seed: of the first labels, and of every choice.
    """
    random = stream(seed, "benchmark", "labelling")
    shuffled = random.permutation(train)
    labelled = np.concatenate([shuffled[labels[shuffled] == number][:FIRST] for number in np.unique(labels)])
    test = np.setdiff1d(np.arange(len(labels)), train)
    points = []
    while True:
        model = LogisticRegression(C=10, max_iter=300).fit(features[labelled], labels[labelled])
        points.append((len(labelled), float(model.score(features[test], labels[test]))))
        if len(labelled) >= count:
            return points
        pool = random.permutation(np.setdiff1d(train, labelled))[:LARGEST]
        if order == "page":
            chosen = similarity.informative(features[pool], model.predict_proba(features[pool]), CHOICE, seed)
        else:
            chosen = np.arange(CHOICE)
        labelled = np.concatenate([labelled, pool[chosen]])


def main() -> None:
    """Print a Markdown table of the mean accuracy over the seeds, and draw all curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--labels", type=int, default=2000)
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="for the raw figures")
    arguments = parser.parse_args()
    embedding = embed(ModelSpec.load(MODELS), lambda: Classifier.load(MODELS), 1)
    features = embedding.features / embedding.features.std()
    parts = np.array([part for part, _ in embedding.pictures])
    rows = np.flatnonzero(parts != "val")
    train = np.flatnonzero(parts[rows] == "train")
    curves = {
        order: [
            curve(order, features[rows], embedding.labels[rows], train, arguments.labels, seed)
            for seed in arguments.seeds
        ]
        for order in ORDERS
    }
    rounds.header("labels", *(f"{order}: accuracy, mean (each seed)" for order in ORDERS))
    first = curves["random"][0][0][0]
    for count in range(first, arguments.labels + 1, 5 * CHOICE):
        cells = []
        for order in ORDERS:
            # The page may offer fewer at a time, where pictures are alike.
            values = [np.interp(count, *np.array(points).T) for points in curves[order]]
            cells.append(f"{np.mean(values):.4f} ({', '.join(f'{value:.4f}' for value in values)})")
        rounds.row(count, *cells)
    rounds.save(arguments.json, curves)
    if arguments.plot:
        draw(curves, arguments.plot)


def draw(curves: Mapping[str, list[list[tuple[int, float]]]], target: Path) -> None:
    """The accuracy against the number of labels, a line for each seed."""
    from darkroom.drawing import figures

    figure, axis = figures.pyplot.subplots(figsize=(6, 4))
    for order, color in zip(ORDERS, (figures.BLUE, figures.ORANGE), strict=True):
        for number, points in enumerate(curves[order]):
            label = None if number else {"page": "the page's choice", "random": "random"}[order]
            axis.plot(*zip(*points, strict=True), color=color, label=label)
    axis.set(xlabel="labels", ylabel="accuracy on test")
    axis.legend()
    figures.save(figure, target)


if __name__ == "__main__":
    main()
