"""Galleries: captioned pictures in a grid. Equal pictures give equal PNG bytes; an empty gallery is not written."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from darkroom.core import seeds
from darkroom.core.errors import UserError
from darkroom.core.terminal import progress
from darkroom.drawing.figures import pyplot, save, short
from darkroom.evaluate.embedding import Embedding, nearest, scaled
from darkroom.evaluate.predictions import Predictions
from darkroom.images.decode import decode
from darkroom.models.classifier import Classifier

if TYPE_CHECKING:
    from darkroom.evaluate.label_noise import LabelQuality

COLUMNS = 6
SIDE, EXPLAINED_SIDE = 240, 640  # pixels of the longer side, at most, of a picture in a gallery and for Grad-CAM
WIDTH, HEIGHT = 1.9, 2.4  # inches of a cell, with the caption
SHARE = 0.94  # of a cell's width, taken by the picture
EXPLAINED = 12  # mistakes that are shown with similar pictures
Cell = tuple[np.ndarray, str]  # a picture, uint8 (height, width, 3), and its caption
BLANK: Cell = (np.full((1, 1, 3), 255, np.uint8), "")


def most_confident_mistakes(test: Predictions, count: int) -> np.ndarray:
    """Rows that the model got wrong, the most confident first."""
    wrong = np.flatnonzero(test.predicted != test.labels)
    return wrong[np.argsort(-test.probabilities[wrong].max(axis=1), kind="stable")][:count]


def least_confident_successes(test: Predictions, count: int) -> np.ndarray:
    """Rows that the model got right, the least confident first."""
    right = np.flatnonzero(test.predicted == test.labels)
    return right[np.argsort(test.probabilities[right].max(axis=1), kind="stable")][:count]


def sample(test: Predictions, count: int, generator: np.random.Generator) -> np.ndarray:
    """Random rows, mistakes first: half of them mistakes, or more or fewer where one kind does not suffice."""
    shuffled = generator.permutation(len(test.labels))
    is_right = (test.predicted == test.labels)[shuffled]
    wrong, right = shuffled[~is_right], shuffled[is_right]
    mistakes = min(len(wrong), max((count + 1) // 2, count - len(right)))
    return np.concatenate([wrong[:mistakes], right[: count - mistakes]])


def draw(
    test: Predictions,
    classes: Sequence[str],
    embedding: Embedding | None,
    issues: Sequence["LabelQuality"],
    count: int,
    folder: Path,
) -> None:
    """Draw all galleries but that of Grad-CAM.

    Args:
        test: predictions on the test split.
        classes: of the model.
        embedding: of all pictures, by which similar ones are found; None for none.
        issues: labels that look wrong.
        count: of mistakes, and of the others.
        folder: to draw to.
    """
    mistakes(test, classes, count, folder / "mistakes.png")
    doubts(test, classes, count, folder / "doubts.png")
    label_issues(issues, folder / "label_issues.png")
    if embedding:
        similar(test, embedding, classes, count, folder / "similar.png")


def mistakes(test: Predictions, classes: Sequence[str], count: int, target: Path) -> None:
    """Draw the most confident mistakes, each with its label and the predicted class."""
    predicted, rows = test.predicted, most_confident_mistakes(test, count)
    lines = [f"predicted {short(classes[predicted[row]], 20)}" for row in rows]
    _predictions(test, rows, lines, classes, target)


def similar(test: Predictions, embedding: Embedding, classes: Sequence[str], count: int, target: Path) -> None:
    """Draw the most confident mistakes, each in a row with the training pictures that look most like it."""
    pictures, labels, features = embedding
    row_of = {path: row for row, (part, path) in enumerate(pictures) if part == "test"}
    train = np.flatnonzero([part == "train" for part, _ in pictures])
    cells = []
    for number in most_confident_mistakes(test, min(count, EXPLAINED)):
        path, row = test.paths[number], row_of[test.paths[number]]
        caption = f"{short(classes[test.labels[number]], 24)}\npredicted {short(classes[test.predicted[number]], 20)}"
        cells.append((small(decode(Path(path))), f"test:\n{caption}"))
        neighbours = nearest(features, row, train, COLUMNS - 1)
        alike = scaled(features[neighbours]) @ scaled(features[row][None])[0]
        for neighbour, similarity in zip(neighbours, alike, strict=True):
            caption = f"train:\n{short(classes[labels[neighbour]], 24)}\nsimilarity {similarity:.2f}"
            cells.append((small(decode(Path(pictures[neighbour][1]))), caption))
        cells += [BLANK] * (-len(cells) % COLUMNS)
    _grid(cells, target)


def doubts(test: Predictions, classes: Sequence[str], count: int, target: Path) -> None:
    """Draw the least confident successes, each with its label and the second most probable class."""
    rows = least_confident_successes(test, count)
    second = np.argsort(-test.probabilities, axis=1, kind="stable")[:, 1]
    lines = [f"rather than {short(classes[second[row]], 20)}" for row in rows]
    _predictions(test, rows, lines, classes, target)


def label_issues(issues: Sequence["LabelQuality"], target: Path) -> None:
    """Draw the pictures whose label looks wrong, each with its label and the suggested one."""
    _grid(
        [
            (
                small(decode(Path(issue.path))),
                f"{short(issue.label, 20)} ({issue.split})\nlooks like {short(issue.suggested, 20)}\n"
                f"quality {issue.quality:.2f}",
            )
            for issue in issues
        ],
        target,
    )


def grad_cam(model: Classifier, test: Predictions, count: int, seed: int, target: Path) -> str:
    """Draw a sample of test pictures, each beside its heat map for the predicted class.

    Returns:
        Why this model has no Grad-CAM; empty if it has.
    """
    if not count:
        return ""
    from darkroom.evaluate import grad_cam

    try:
        explainer = grad_cam.Explainer(model)
    except UserError as error:
        return str(error)
    cells, classes = [], model.spec.classes
    rows = sample(test, count, seeds.stream(seed, "grad_cam"))
    for row in progress(rows, len(rows), "explaining"):
        pixels = small(decode(Path(test.paths[row])), EXPLAINED_SIDE)
        predicted = int(test.probabilities[row].argmax())
        caption = f"predicted, {test.probabilities[row, predicted]:.1%}:\n{short(classes[predicted], 24)}"
        cells.append((pixels, f"true:\n{short(classes[test.labels[row]], 24)}"))
        cells.append((grad_cam.overlay(pixels, explainer.heat(pixels, predicted)), caption))
    _grid(cells, target)
    return ""


def small(pixels: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Shrink a picture to what is shown: hundreds of photographs at full size would take gigabytes of memory."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    return np.asarray(picture)


def _predictions(
    test: Predictions, rows: np.ndarray, lines: Sequence[str], classes: Sequence[str], target: Path
) -> None:
    """Draw rows of the test split with label, a line of text, and the probability of the predicted class."""
    cells = []
    for row, line in zip(rows, lines, strict=True):
        label, probability = short(classes[test.labels[row]], 24), test.probabilities[row].max()
        cells.append((small(decode(Path(test.paths[row]))), f"{label}\n{line}\n{probability:.1%}"))
    _grid(cells, target)


def _grid(cells: Sequence[Cell], target: Path) -> None:
    """Draw pictures and captions at fixed positions, which is ten times as fast as matplotlib's layout."""
    if not cells:
        return
    columns = min(COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    figure = pyplot.figure(figsize=(WIDTH * columns, HEIGHT * rows))
    for place, (pixels, caption) in enumerate(cells):
        row, column = divmod(place, columns)
        axes = figure.add_axes(
            (
                (column + (1 - SHARE) / 2) / columns,
                (rows - 1 - row + 0.02) / rows,
                SHARE / columns,
                SHARE * WIDTH / (HEIGHT * rows),
            )
        )
        axes.axis("off")
        axes.set_anchor("N")  # next to its caption
        axes.imshow(pixels)
        # A title in every way but that matplotlib does not measure hidden axes to place it.
        axes.annotate(caption, (0.5, 1), (0, 6), "axes fraction", "offset points", ha="center", fontsize=8)
    save(figure, target, tight=False)
