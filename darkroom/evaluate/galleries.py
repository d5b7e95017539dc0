"""Pictures in a grid, each below what is said of it. PNG bytes are equal for equal pictures.

Where there is nothing to show no file is written.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from darkroom.core import seeds
from darkroom.core.errors import UserError
from darkroom.core.terminal import progress
from darkroom.drawing.figures import pyplot, save, short
from darkroom.evaluate.metrics import Predictions
from darkroom.images.decode import decode
from darkroom.models.classifier import Classifier

if TYPE_CHECKING:
    from darkroom.evaluate.label_noise import Suspect

COLUMNS = 6
SIDE, LOOKED_AT = 240, 640  # pixels of a shown picture's longer side, at most, and of one that is explained
WIDTH, HEIGHT = 1.9, 2.4  # inches of a cell, caption included
SHARE = 0.94  # of the width that a picture takes
Cell = tuple[np.ndarray, str]  # a picture, uint8 (height, width, 3), and its caption


def most_confident_mistakes(labels: np.ndarray, probabilities: np.ndarray, count: int) -> np.ndarray:
    """Rows that the model got wrong, the surest first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:count]


def least_confident_successes(labels: np.ndarray, probabilities: np.ndarray, count: int) -> np.ndarray:
    """Rows that the model got right, the least sure first."""
    right = np.flatnonzero(probabilities.argmax(axis=1) == labels)
    return right[np.argsort(probabilities[right].max(axis=1), kind="stable")][:count]


def sample(labels: np.ndarray, probabilities: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Rows drawn at random, mistakes first: half of them, or as many as there are of one kind where they are few."""
    drawn = generator.permutation(len(labels))
    right = (probabilities.argmax(axis=1) == labels)[drawn]
    wrong, right = drawn[~right], drawn[right]
    mistakes = min(len(wrong), max((count + 1) // 2, count - len(right)))
    return np.concatenate([wrong[:mistakes], right[: count - mistakes]])


def mistakes(test: Predictions, classes: Sequence[str], count: int, target: Path) -> None:
    """Test pictures that were taken for another class."""
    predicted = test.probabilities.argmax(axis=1)
    rows = most_confident_mistakes(test.labels, test.probabilities, count)
    _predicted(test, rows, [f"taken for {short(classes[predicted[row]], 20)}" for row in rows], classes, target)


def doubts(test: Predictions, classes: Sequence[str], count: int, target: Path) -> None:
    """Test pictures that were taken for what they are, with the class that came second."""
    second = np.argsort(-test.probabilities, axis=1, kind="stable")[:, 1]
    rows = least_confident_successes(test.labels, test.probabilities, count)
    _predicted(test, rows, [f"rather than {short(classes[second[row]], 20)}" for row in rows], classes, target)


def suspects(found: Sequence["Suspect"], target: Path) -> None:
    """Pictures whose label looks wrong."""
    lines = "{} ({})\nlooks like {}\nquality {:.2f}"
    captions = [lines.format(short(one.label, 20), one.split, short(one.suggested, 20), one.quality) for one in found]
    _grid([(small(decode(Path(one.path))), caption) for one, caption in zip(found, captions, strict=True)], target)


def grad_cam(model: Classifier, test: Predictions, count: int, seed: int, target: Path) -> str:
    """A sample of test pictures, each beside itself under the places that speak for the class that was predicted.

    Returns:
        The reason why the model cannot be explained; empty if it can.
    """
    if not count:
        return ""
    from darkroom.evaluate import grad_cam

    try:
        explainer = grad_cam.Explainer(model)
    except UserError as error:
        return str(error)
    rows = sample(test.labels, test.probabilities, count, seeds.stream(seed, "grad_cam"))
    cells = []
    for row in progress(rows, len(rows), "explaining"):
        pixels, number = small(decode(Path(test.paths[row])), LOOKED_AT), int(test.probabilities[row].argmax())
        says = f"predicted, {test.probabilities[row, number]:.1%}:\n{short(model.spec.classes[number], 24)}"
        cells.append((pixels, f"true:\n{short(model.spec.classes[test.labels[row]], 24)}"))
        cells.append((grad_cam.overlay(pixels, explainer.heat(pixels, number)), says))
    _grid(cells, target)
    return ""


def small(pixels: np.ndarray, side: int = SIDE) -> np.ndarray:
    """A picture no larger than it is shown: two hundred photographs as they are would take gigabytes."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    return np.asarray(picture)


def _predicted(test: Predictions, rows: np.ndarray, lines: Sequence[str], classes: Sequence[str], target: Path) -> None:
    cells = []
    for row, line in zip(rows, lines, strict=True):
        label, sure = short(classes[test.labels[row]], 24), test.probabilities[row].max()
        cells.append((small(decode(Path(test.paths[row]))), f"{label}\n{line}\n{sure:.1%}"))
    _grid(cells, target)


def _grid(cells: Sequence[Cell], target: Path) -> None:
    """All places are known beforehand, since to work them out from the captions takes ten times as long."""
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
        axes.set_title(caption, fontsize=8)
    save(figure, target, tight=False)
