"""Plots of a data set: class counts, picture sizes, and a contact sheet of each class."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from darkroom.drawing.contact_sheets import COLUMNS, contact_sheet, spread
from darkroom.drawing.figures import BLUE, GREEN, ORANGE, pyplot, save
from darkroom.images.folders import Picture


def data_set(pictures: Sequence[Picture], pixels: np.ndarray, folder: Path) -> None:
    """Plot class counts, sizes (width and height of each picture), and a sheet of each class, evenly sampled."""
    counts: dict[str, Counter[str]] = {}
    by_class: dict[str, list[Path]] = {}
    for path, label in pictures:
        counts.setdefault(path.parts[-3], Counter())[label] += 1
        by_class.setdefault(label, []).append(path)
    class_counts(counts, folder / "classes.png")
    sizes(pixels, folder / "sizes.png")
    for label, paths in by_class.items():
        shown = spread(paths, 5 * COLUMNS)
        rows = [shown[start : start + COLUMNS] for start in range(0, len(shown), COLUMNS)]
        titles = [f"{label}: {len(shown)} of {len(paths):,}", *[""] * (len(rows) - 1)]
        name = label if len(os.fsencode(label)) < 250 else hashlib.sha256(os.fsencode(label)).hexdigest()
        contact_sheet(rows, titles, folder / f"{name}.jpg")


def class_counts(counts: Mapping[str, Mapping[str, int]], target: Path) -> None:
    """Plot the pictures of each class as stacked bars; `counts` is part to class to number."""
    classes = sorted({label for part in counts.values() for label in part}, reverse=True)
    figure, axes = pyplot.subplots(figsize=(7, min(0.3 * len(classes) + 1.6, 300)), layout="constrained")
    left = np.zeros(len(classes))
    for part, colour in zip(counts, (BLUE, ORANGE, GREEN), strict=False):
        width = np.array([counts[part].get(label, 0) for label in classes])
        axes.barh(classes, width, left=left, color=colour, label=part)
        left += width
    for label, total in zip(classes, left, strict=True):
        axes.text(float(total), label, f" {total:,.0f}", va="center", fontsize=8)  # type: ignore[arg-type]
    axes.set(title="Pictures of each class", xlim=(0, max(left) * 1.12))
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    if len(counts) > 1:
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    save(figure, target, tight=False)


def sizes(pixels: np.ndarray, target: Path) -> None:
    """Plot width against height of the pictures (n, 2); the larger a dot, the more pictures have that size."""
    pairs, counts = np.unique(pixels, axis=0, return_counts=True)
    figure, axes = pyplot.subplots(figsize=(6, 5.4), layout="constrained")
    area = np.clip(400 * counts / counts.max(), 6, None)
    axes.scatter(pairs[:, 0], pairs[:, 1], s=area, color=BLUE, alpha=0.45, linewidths=0)
    title = f"{len(pairs):,} sizes; the most frequent is {pairs[counts.argmax()][0]} x {pairs[counts.argmax()][1]}"
    axes.set(title=title, xlabel="width (pixels)", ylabel="height (pixels)", xlim=(0, None), ylim=(0, None))
    axes.grid(alpha=0.3)
    save(figure, target, tight=False)
