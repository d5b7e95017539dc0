"""Matplotlib's configuration: no display, no formulas in class names, and equal bytes for equal figures."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["text.parse_math"] = False  # class names may contain a $

from matplotlib import pyplot as pyplot

BLUE, ORANGE, GREEN = "#3b6ea8", "#d9822b", "#4d9078"


def save(figure: Any, target: Path, tight: bool = True) -> None:
    """Write a PNG file without a date or version, and close the figure; `tight` crops empty margins."""
    figure.savefig(target, dpi=110, bbox_inches="tight" if tight else None, metadata={"Software": None})
    pyplot.close(figure)


def short(name: str, length: int = 28) -> str:
    """Shorten a class name to `length` characters, after a space if it begins with `_`, which matplotlib hides."""
    name = f" {name}" if name.startswith("_") else name
    return name if len(name) <= length else f"{name[: length - 1]}…"
