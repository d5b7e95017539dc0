"""Plots of an evaluation's figures. PNG bytes are equal for equal figures."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.drawing.figures import BLUE, GREEN, ORANGE, pyplot, save, short
from darkroom.evaluate.curves import Curve, shown
from darkroom.evaluate.metrics import BINS, Bin, Score

OF_EPOCHS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
LARGEST = 60.0  # inches


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str], folder: Path) -> None:
    """True (rows) against predicted (columns) class: counts, and shares of the row; both coloured by the share."""
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (labels, predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    _matrix(shares, counts, "{}".format, classes, "pictures", folder / "confusion.png")
    what = "share of the true class"
    _matrix(
        shares, shares, lambda share: f"{share:.2f}".lstrip("0"), classes, what, folder / "confusion_normalised.png"
    )


def _matrix(
    shares: np.ndarray,
    values: np.ndarray,
    text: Callable[[Any], str],
    classes: Sequence[str],
    what: str,
    target: Path,
) -> None:
    """The more classes, the smaller a cell; from 100 on it has no room for a number."""
    count = len(classes)
    cell, size = (0.6, 9) if count <= 30 else (0.36, 7) if count <= 100 else (0.13, 6)
    side = min(max(4.5, cell * count + 1), LARGEST)
    figure, axes = pyplot.subplots(figsize=(side, side))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names, named = [short(name) for name in classes], range(0, count, -(-count // 450))
    slant = {"rotation": 45, "ha": "right"} if count <= 100 else {"rotation": 90}
    axes.set_xticks(named, [names[place] for place in named], fontsize=size + 1, **slant)
    axes.set_yticks(named, [names[place] for place in named], fontsize=size + 1)
    axes.set(xlabel="predicted", ylabel="true", title=f"Confusion matrix (test): {what}")
    for row, column in np.argwhere(shares > 0) if count <= 100 else ():
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, text(values[row, column]), ha="center", va="center", fontsize=size, color=colour)
    save(figure, target)


def per_class(rows: Sequence[Score], target: Path) -> None:
    """Precision, recall and F1 of each class as bars, the worst F1 at the top."""
    ordered = sorted(rows, key=lambda row: -row[3])
    places = np.arange(len(ordered))
    figure, axes = pyplot.subplots(figsize=(8, min(0.45 * len(ordered) + 1.5, 4 * LARGEST)), layout="constrained")
    for offset, (place, name, colour) in enumerate([(1, "precision", BLUE), (2, "recall", ORANGE), (3, "F1", GREEN)]):
        axes.barh(places + 0.27 * (1 - offset), [row[place] for row in ordered], 0.25, label=name, color=colour)
    axes.set_yticks(places, [f"{short(row[0])} ({row[4]})" for row in ordered])
    axes.set(xlim=(0, 1), ylim=(-0.6, len(ordered) - 0.4), title="Per class (number of test pictures)")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    save(figure, target)


def roc(curves: Sequence[Curve], target: Path) -> None:
    """Curves of `ranking.roc`, a legend that says each one's area beside them."""
    _curves(curves, "false positive rate", "true positive rate", "ROC (test)", "default", target)


def precision_recall(curves: Sequence[Curve], target: Path) -> None:
    """Curves of `ranking.precision_recall`, in steps: a recall is reached with the precision of that threshold."""
    _curves(curves, "recall", "precision", "Precision and recall (test)", "steps-pre", target)


def _curves(curves: Sequence[Curve], x: str, y: str, title: str, style: str, target: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(9.5, 5.6), layout="constrained")
    *single, mean = shown(curves)
    for number, curve in enumerate(single):
        line = "-" if number < 10 else "-."  # there are ten colours
        label = f"{short(curve.name)}: {curve.area:.4f}"
        axes.plot(curve.x, curve.y, color=f"C{number % 10}", linestyle=line, drawstyle=style, label=label)
    label = f"{mean.name}: {mean.area:.4f}"
    axes.plot(mean.x, mean.y, color="black", linestyle="--", linewidth=2.2, label=label)
    axes.set(xlabel=x, ylabel=y, title=title, xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.grid(alpha=0.3)
    which = "area under the curve" if len(single) == len(curves) - 1 else "area under the curve, the worst"
    figure.legend(loc="outside right upper", frameon=False, title=which)
    save(figure, target)


def reliability(bins: Mapping[str, Sequence[Bin]], target: Path) -> None:
    """Accuracy by confidence as bars against the diagonal, numbers of pictures below; a panel for each time."""
    figure, grid = pyplot.subplots(
        2,
        len(bins),
        figsize=(5 * len(bins), 5.6),
        height_ratios=(3, 1),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for (when, found), above, below in zip(bins.items(), grid[0], grid[1], strict=True):
        middles = [(one.number + 0.5) / BINS for one in found]
        above.bar(middles, [one.accuracy for one in found], 0.94 / BINS, color=BLUE, label="accuracy")
        above.plot([0, 1], [0, 1], color="grey", linestyle="--", label="as often right as sure")
        above.set(title=f"{when} calibration" if len(bins) > 1 else None, xlim=(0, 1), ylim=(0, 1.02))
        below.bar(middles, [one.pictures for one in found], 0.94 / BINS, color="#9aa7b4")
        for middle, one in zip(middles, found, strict=True):
            below.text(middle, one.pictures, one.pictures, ha="center", va="bottom", fontsize=7)
        below.set(xlabel="confidence: the largest probability")
        below.margins(y=0.2)
    grid[0][0].set_ylabel("accuracy")
    grid[1][0].set_ylabel("pictures")
    grid[0][0].legend(frameon=False, loc="upper left")
    save(figure, target)


def curves(history: Sequence[dict[str, str]], kept: int, target: Path) -> None:
    """Loss and accuracy by epoch, training and validation; the epoch whose weights are the model is marked.

    A classical head has no epochs: there, by the values of its knob that were tried.
    """
    epochs = [int(row["epoch"]) for row in history]
    knob = next((name for name in history[0] if name not in OF_EPOCHS), None)
    trained = "train" if knob else "train (with dropout)"
    figure, both = pyplot.subplots(1, 2, figsize=(9, 3.4))
    for axes, name in zip(both, ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [float(row[name]) for row in history], color=BLUE, marker=".", label=trained)
        axes.plot(epochs, [float(row[f"val_{name}"]) for row in history], color=ORANGE, marker=".", label="val")
        axes.axvline(kept, color="grey", linestyle=":", label="kept")
        axes.set(xlabel=knob or "epoch", title=name.capitalize())
        if knob:
            axes.set_xticks(epochs, [f"{float(row[knob]):g}" for row in history])
        else:
            axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    both[0].legend(frameon=False)
    save(figure, target)
