"""Contact sheets, and plots of what a data set holds. Bytes are equal for equal pictures."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from stages.common.pictures import Picture, decode

T = TypeVar("T")
THUMBNAIL = 96  # pixels
GAP = 4
COLUMNS = 10


def contact_sheet(rows: Sequence[Sequence[Path]], titles: Sequence[str], target: Path) -> None:
    """Small versions of the pictures, a title above each row (an empty one takes no room), as a JPEG file."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=13)
    cell = THUMBNAIL + GAP
    heights = [cell + (18 if title else 0) for title in titles]
    width = GAP + cell * max((len(row) for row in rows), default=1)
    sheet = Image.new("RGB", (max(width, 300), GAP + sum(heights)), "white")
    pen = ImageDraw.Draw(sheet)
    top = GAP
    for row, title, height in zip(rows, titles, heights, strict=True):
        pen.text((GAP, top), title, "black", font)
        for column, path in enumerate(row):
            picture = Image.fromarray(decode(path))
            scale = THUMBNAIL / max(picture.size)
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR
            sheet.paste(picture.resize(size, how, reducing_gap=2.0), (GAP + column * cell, top + height - cell))
        top += height
    sheet.save(target, "JPEG", quality=88)


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items, evenly from all of them."""
    return [items[place] for place in np.unique(np.linspace(0, len(items) - 1, count).astype(int))] if items else []


def data_set(pictures: Sequence[Picture], pixels: Sequence[tuple[int, int]], folder: Path) -> None:
    """Class counts, sizes (width, height of each picture), and a sheet of each class from all over its pictures."""
    counts: dict[str, Counter[str]] = {}
    by_class: dict[str, list[Path]] = {}
    for path, label in pictures:
        counts.setdefault(path.parts[-3], Counter())[label] += 1
        by_class.setdefault(label, []).append(path)
    class_counts(counts, folder / "classes.png")
    sizes(np.array(pixels), folder / "sizes.png")
    for label, paths in by_class.items():
        shown = spread(paths, 5 * COLUMNS)
        rows = [shown[start : start + COLUMNS] for start in range(0, len(shown), COLUMNS)]
        titles = [f"{label}: {len(shown)} of {len(paths):,}", *[""] * (len(rows) - 1)]
        name = label if len(os.fsencode(label)) < 250 else hashlib.sha256(os.fsencode(label)).hexdigest()
        contact_sheet(rows, titles, folder / f"{name}.jpg")


def class_counts(counts: Mapping[str, Mapping[str, int]], target: Path) -> None:
    """Pictures of each class as stacked bars: part to class to number."""
    pyplot = _pyplot()
    classes = sorted({label for part in counts.values() for label in part}, reverse=True)
    figure, axes = pyplot.subplots(figsize=(7, min(0.3 * len(classes) + 1.6, 300)), layout="constrained")
    left = np.zeros(len(classes))
    for part, colour in zip(counts, ("#3b6ea8", "#d9822b", "#4d9078"), strict=False):
        width = np.array([counts[part].get(label, 0) for label in classes])
        axes.barh(classes, width, left=left, color=colour, label=part)
        left += width
    for label, total in zip(classes, left, strict=True):
        axes.text(total, label, f" {total:,.0f}", va="center", fontsize=8)
    axes.set(title="Pictures of each class", xlim=(0, max(left) * 1.12))
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    if len(counts) > 1:
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(target, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def sizes(pixels: np.ndarray, target: Path) -> None:
    """Width against height of the pictures (n, 2); the larger a dot, the more pictures have that size."""
    pyplot = _pyplot()
    pairs, counts = np.unique(pixels, axis=0, return_counts=True)
    figure, axes = pyplot.subplots(figsize=(6, 5.4), layout="constrained")
    area = np.clip(400 * counts / counts.max(), 6, None)
    axes.scatter(pairs[:, 0], pairs[:, 1], s=area, color="#3b6ea8", alpha=0.45, linewidths=0)
    title = f"{len(pairs):,} sizes; the most frequent is {pairs[counts.argmax()][0]} x {pairs[counts.argmax()][1]}"
    axes.set(title=title, xlabel="width (pixels)", ylabel="height (pixels)", xlim=(0, None), ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.savefig(target, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["text.parse_math"] = False  # class names may hold a $
    from matplotlib import pyplot

    return pyplot
