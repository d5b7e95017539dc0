"""The pictures of the evaluation and the page that holds them. PNG bytes are equal for equal figures."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from stages.common.classifier import Classifier
from stages.common.pictures import decode

matplotlib.use("Agg")
matplotlib.rcParams["text.parse_math"] = False  # class names may hold a $
import matplotlib.pyplot as plt

TEMPLATE = Path(__file__).with_name("report.html")
OF_EPOCHS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
BLUE, ORANGE, GREEN = "#3b6ea8", "#d9822b", "#4d9078"


def _save(figure: Any, target: Path) -> None:
    figure.savefig(target, dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str], target: Path) -> None:
    """Counts of true (rows) against predicted (columns) class, coloured by the share of the row."""
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (labels, predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(5.0, 0.62 * len(classes) + 1.5), 60.0)
    figure, axes = plt.subplots(figsize=(side, side))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true", title="Confusion matrix (test)")
    for (row, column), count in np.ndenumerate(counts):
        if count and len(classes) <= 100:  # beyond, a cell has no room for a number
            axes.text(
                column,
                row,
                count,
                ha="center",
                va="center",
                fontsize=8,
                color="white" if shares[row, column] > 0.5 else "black",
            )
    _save(figure, target)


def per_class(rows: Sequence[tuple[str, float, float, float, int]], target: Path) -> None:
    """Precision, recall and F1 of each class as bars, the worst F1 at the top."""
    ordered = sorted(rows, key=lambda row: -row[3])
    places = np.arange(len(ordered))
    figure, axes = plt.subplots(figsize=(7, min(0.45 * len(ordered) + 1.5, 300)), layout="constrained")
    for offset, (place, name, colour) in enumerate([(1, "precision", BLUE), (2, "recall", ORANGE), (3, "F1", GREEN)]):
        axes.barh(places + 0.27 * (1 - offset), [row[place] for row in ordered], 0.25, label=name, color=colour)
    axes.set_yticks(places, [f"{row[0]} ({row[4]})" for row in ordered])
    axes.set(xlim=(0, 1), title="Per class (number of test pictures)")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    _save(figure, target)


def curves(history: Sequence[dict[str, str]], kept: int, target: Path) -> None:
    """Loss and accuracy by epoch, training and validation; the epoch whose weights are the model is marked.

    A classical head has no epochs: there, by the values of its knob that were tried.
    """
    epochs = [int(row["epoch"]) for row in history]
    knob = next((name for name in history[0] if name not in OF_EPOCHS), None)
    trained = "train" if knob else "train (with dropout)"
    figure, both = plt.subplots(1, 2, figsize=(9, 3.4))
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
    _save(figure, target)


def gallery(rows: Sequence[tuple[str, str, str, float]], target: Path, columns: int = 6) -> None:
    """Pictures (path, true label, predicted label, probability) in a grid."""
    height = max(1, -(-len(rows) // columns))
    figure, grid = plt.subplots(height, columns, figsize=(1.7 * columns, 2.1 * height), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (path, label, predicted, probability) in zip(grid.flat, rows, strict=False):
        axes.imshow(decode(Path(path)), interpolation="nearest")
        axes.set_title(f"{label}\ntaken for {predicted}\n{probability:.1%}", fontsize=7)
    if not rows:
        grid[0][0].text(0, 0.5, "No mistakes.")
    figure.tight_layout()
    _save(figure, target)


def report(
    target: Path,
    figures: dict[str, float],
    rows: Sequence[tuple[str, float, float, float, int]],
    model: Classifier,
    plots: Path,
) -> None:
    """One self-contained HTML page: figures, the model's settings, and the pictures, inside the file."""
    from jinja2 import Environment

    from stages.common.files import whole_file

    images = {path.stem: base64.b64encode(path.read_bytes()).decode() for path in sorted(plots.glob("*.png"))}
    template = Environment(autoescape=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    page = template.render(figures=figures, rows=sorted(rows, key=lambda row: row[3]), model=model, images=images)
    with whole_file(target) as partial:
        partial.write_text(page, encoding="utf-8")
