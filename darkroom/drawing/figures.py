"""Matplotlib, set up once: no display, no formulas in class names, and equal bytes for equal figures."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["text.parse_math"] = False  # class names may hold a $

from matplotlib import pyplot as pyplot

BLUE, ORANGE, GREEN = "#3b6ea8", "#d9822b", "#4d9078"


def save(figure: Any, target: Path, tight: bool = True) -> None:
    """Write a PNG file without date and version, and close the figure; `tight` crops empty margins."""
    figure.savefig(target, dpi=110, bbox_inches="tight" if tight else None, metadata={"Software": None})
    pyplot.close(figure)


def short(name: str, most: int = 28) -> str:
    """A class name of limited length. A leading space keeps matplotlib from hiding names that begin with `_`."""
    name = f" {name}" if name.startswith("_") else name
    return name if len(name) <= most else f"{name[: most - 1]}…"
