"""Plots of an evaluation. Equal data gives equal PNG bytes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.metric_table import BINS
from darkroom.drawing.figures import BLUE, GREEN, ORANGE, pyplot, save, short
from darkroom.evaluate.curves import Curve, drawable
from darkroom.evaluate.metrics import Bin, ClassScores

EPOCH_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
LONGEST = 60.0  # inches


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str], folder: Path) -> None:
    """Draw the confusion matrix, true class (rows) against predicted (columns), as counts and as shares of the row.

    Both are coloured by the share.
    """
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (labels, predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    _matrix(shares, counts, "{}".format, classes, "pictures", folder / "confusion.png")
    _matrix(
        shares,
        shares,
        lambda share: f"{share:.2f}".lstrip("0"),
        classes,
        "share of the true class",
        folder / "confusion_normalised.png",
    )


def _matrix(
    shares: np.ndarray,
    values: np.ndarray,
    text: Callable[[Any], str],
    classes: Sequence[str],
    unit: str,
    target: Path,
) -> None:
    """Draw a matrix, its cells the smaller the more classes there are; above 100 classes they have no room for text."""
    count = len(classes)
    cell, size = (0.6, 9) if count <= 30 else (0.36, 7) if count <= 100 else (0.13, 6)
    side = min(max(4.5, cell * count + 1), LONGEST)
    figure, axes = pyplot.subplots(figsize=(side, side))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names, ticks = [short(name) for name in classes], range(0, count, -(-count // 450))
    slant = {"rotation": 45, "ha": "right"} if count <= 100 else {"rotation": 90}
    axes.set_xticks(ticks, [names[tick] for tick in ticks], fontsize=size + 1, **slant)
    axes.set_yticks(ticks, [names[tick] for tick in ticks], fontsize=size + 1)
    axes.set(xlabel="predicted", ylabel="true", title=f"Confusion matrix (test): {unit}")
    for row, column in np.argwhere(shares > 0) if count <= 100 else ():
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, text(values[row, column]), ha="center", va="center", fontsize=size, color=colour)
    save(figure, target)


def per_class(scores: Sequence[ClassScores], target: Path) -> None:
    """Draw precision, recall and F1 of each class as bars, the worst F1 at the top."""
    ordered = sorted(scores, key=lambda row: -row.f1)
    places = np.arange(len(ordered))
    figure, axes = pyplot.subplots(figsize=(8, min(0.45 * len(ordered) + 1.5, 4 * LONGEST)), layout="constrained")
    bars = [
        ("precision", [row.precision for row in ordered], BLUE),
        ("recall", [row.recall for row in ordered], ORANGE),
        ("F1", [row.f1 for row in ordered], GREEN),
    ]
    for offset, (name, values, colour) in enumerate(bars):
        axes.barh(places + 0.27 * (1 - offset), values, 0.25, label=name, color=colour)
    axes.set_yticks(places, [f"{short(row.name)} ({row.support})" for row in ordered])
    axes.set(xlim=(0, 1), ylim=(-0.6, len(ordered) - 0.4), title="Per class (number of test pictures)")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    save(figure, target)


def roc(curves: Sequence[Curve], target: Path) -> None:
    """Draw the curves of `curves.roc`, with the area under each in the legend."""
    _curves(curves, "false positive rate", "true positive rate", "ROC (test)", "default", target)


def precision_recall(curves: Sequence[Curve], target: Path) -> None:
    """Draw the curves of `curves.precision_recall`, as steps: between two thresholds precision is not interpolated."""
    _curves(curves, "recall", "precision", "Precision and recall (test)", "steps-pre", target)


def _curves(curves: Sequence[Curve], x: str, y: str, title: str, style: str, target: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(9.5, 5.6), layout="constrained")
    *single, mean = drawable(curves)
    for number, curve in enumerate(single):
        line = "-" if number < 10 else "-."  # matplotlib has ten colours
        label = f"{short(curve.name)}: {curve.area:.4f}"
        axes.plot(curve.x, curve.y, color=f"C{number % 10}", linestyle=line, drawstyle=style, label=label)
    label = f"{mean.name}: {mean.area:.4f}"
    axes.plot(mean.x, mean.y, color="black", linestyle="--", linewidth=2.2, label=label)
    axes.set(xlabel=x, ylabel=y, title=title, xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.grid(alpha=0.3)
    legend = "area under the curve" if len(single) == len(curves) - 1 else "area under the curve, five worst"
    figure.legend(loc="outside right upper", frameon=False, title=legend)
    save(figure, target)


def reliability(bins: Mapping[str, Sequence[Bin]], target: Path) -> None:
    """Draw accuracy by confidence against the diagonal, above numbers of pictures; a panel each before and after."""
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
    for (time, of_time), above, below in zip(bins.items(), grid[0], grid[1], strict=True):
        middles = [(row.number + 0.5) / BINS for row in of_time]
        above.bar(middles, [row.accuracy for row in of_time], 0.94 / BINS, color=BLUE, label="accuracy")
        above.plot([0, 1], [0, 1], color="grey", linestyle="--", label="perfect calibration")
        above.set(title=f"{time} calibration" if len(bins) > 1 else None, xlim=(0, 1), ylim=(0, 1.02))
        below.bar(middles, [row.pictures for row in of_time], 0.94 / BINS, color="#9aa7b4")
        for middle, row in zip(middles, of_time, strict=True):
            below.text(middle, row.pictures, row.pictures, ha="center", va="bottom", fontsize=7)
        below.set(xlabel="confidence: the largest probability")
        below.margins(y=0.2)
    grid[0][0].set_ylabel("accuracy")
    grid[1][0].set_ylabel("pictures")
    grid[0][0].legend(frameon=False, loc="upper left")
    save(figure, target)


def curves(history: Sequence[dict[str, str]], kept: int, target: Path) -> None:
    """Draw loss and accuracy of train and val by epoch, and mark the epoch whose weights were kept.

    A classical head has no epochs: the x axis shows the values tried for its hyperparameter.
    """
    epochs = [int(row["epoch"]) for row in history]
    hyperparameter = next((name for name in history[0] if name not in EPOCH_COLUMNS), None)
    train = "train" if hyperparameter else "train (with dropout)"
    figure, both = pyplot.subplots(1, 2, figsize=(9, 3.4))
    for axes, name in zip(both, ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [float(row[name]) for row in history], color=BLUE, marker=".", label=train)
        axes.plot(epochs, [float(row[f"val_{name}"]) for row in history], color=ORANGE, marker=".", label="val")
        axes.axvline(kept, color="grey", linestyle=":", label="kept")
        axes.set(xlabel=hyperparameter or "epoch", title=name.capitalize())
        if hyperparameter:
            axes.set_xticks(epochs, [f"{float(row[hyperparameter]):g}" for row in history])
        else:
            axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    both[0].legend(frameon=False)
    save(figure, target)
