"""Inspection of the whole set: near-duplicates, and dark, bright, blurry, empty and odd-sized pictures.

The measures of single pictures and their thresholds are CleanVision's (https://github.com/cleanlab/cleanvision). Its
own search copies the whole list of files to every process again and again, so its functions are called here directly.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from darkroom.core.graphs import connected_groups
from darkroom.core.parallel import on_all_cores
from darkroom.core.terminal import progress
from darkroom.images.decode import decode

# CleanVision's issues except "grayscale": every picture becomes RGB anyway.
ISSUES = ("dark", "light", "blurry", "low_information", "odd_size", "odd_aspect_ratio")
LARGEST_SIDE = 128  # pictures are reduced to this for all measures except those of size
DETAIL_SIDE = 32
MAX_HASH_DISTANCE = 8  # bits of 64


class Measures(NamedTuple):
    """The measures of one picture."""

    height: int
    width: int
    properties: dict[str, float]  # CleanVision's raw scores by column name
    hash: int  # perceptual hash, 64 bits
    detail: np.ndarray  # int8 (DETAIL_SIDE * DETAIL_SIDE,)


def measure(paths: Sequence[Path]) -> list[Measures]:
    """Measure pictures on all cores."""
    return list(progress(on_all_cores(_measure, paths), len(paths), "inspecting"))


def _measure(path: Path) -> Measures:
    from cleanvision.issue_managers.duplicate_issue_manager import get_hash
    from PIL import Image

    pixels = decode(path)
    height, width = pixels.shape[:2]
    # CleanVision has other thresholds for grey files than for colour.
    grey = (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    image = Image.fromarray(pixels[..., 0] if grey else pixels)
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), reducing_gap=2.0)
    properties: dict[str, float] = {
        "aspect_ratio": min(width / height, height / width),
        "size": math.sqrt(width * height),
    }
    for name in ("dark", "low_information", "blurry"):
        properties |= _issue_manager().image_properties[name].calculate(image)
    phash = int(get_hash(image, {"hash_type": "phash", "hash_size": 8}), 16)
    return Measures(height, width, properties, phash, detail(image))


def detail(image: Any) -> np.ndarray:
    """Fine detail of a picture: a small grey version minus a blurred one, scaled to int8, flattened."""
    from PIL import Image, ImageFilter

    grey = image.convert("L").resize((DETAIL_SIDE, DETAIL_SIDE), Image.Resampling.BILINEAR)
    blurred = np.asarray(grey.filter(ImageFilter.GaussianBlur(1)), np.float32)
    fine = (np.asarray(grey, np.float32) - blurred).ravel()
    fine -= fine.mean()
    return np.rint(fine * (127 / max(float(np.abs(fine).max()), 1.0))).astype(np.int8)


def issues(measures: Sequence[Measures]) -> dict[str, np.ndarray]:
    """Row numbers of the pictures with each issue, by CleanVision's thresholds; odd sizes are odd within this set."""
    import pandas as pd

    manager = _issue_manager()
    manager.issues = pd.DataFrame(index=range(len(measures)))
    manager.update_issues(pd.DataFrame([item.properties for item in measures]), list(ISSUES))
    return {name: np.flatnonzero(manager.issues[f"is_{name}_issue"]) for name in ISSUES}


@functools.cache
def _issue_manager() -> Any:
    from cleanvision.issue_managers.image_property_issue_manager import ImagePropertyIssueManager

    return ImagePropertyIssueManager()


def near_duplicates(measures: Sequence[Measures], threshold: float | None) -> list[list[int]]:
    """Groups of row numbers that show the same picture: identical, re-encoded, resized, or recoloured.

    Without `threshold`, only pictures with the same value of every measure form a group.

    Candidates are pairs whose perceptual hashes differ in at most `MAX_HASH_DISTANCE` bits. Equal hashes alone prove
    nothing where all pictures of a class look alike, so the fine detail of both must agree: its correlation is at least
    `threshold`. On 4,317 photographs of flowers it was above 0.9 for 28 pairs, all of them the same picture to the eye,
    and below 0.65 for all but three of the others.
    """

    def pairs() -> Iterator[tuple[int, int]]:
        yield from _equal(measures)
        if threshold:
            yield from _similar(measures, threshold)

    return connected_groups(len(measures), pairs())


def _equal(measures: Sequence[Measures]) -> Iterator[tuple[int, int]]:
    """Each row with the first row that has the same measures."""
    first: dict[Any, int] = {}
    for row, item in enumerate(measures):
        yield first.setdefault((item.hash, item.detail.tobytes(), *sorted(item.properties.items())), row), row


def _similar(measures: Sequence[Measures], threshold: float) -> Iterator[tuple[int, int]]:
    """Pairs of rows with close hashes and correlated detail."""
    hashes = np.array([item.hash for item in measures], np.uint64)
    details = np.stack([item.detail for item in measures])
    norms = np.maximum(np.linalg.norm(details.astype(np.float32), axis=1), 1e-6)
    for row in progress(range(len(measures)), len(measures), "comparing"):
        close = np.flatnonzero(np.bitwise_count(hashes[row + 1 :] ^ hashes[row]) <= MAX_HASH_DISTANCE) + row + 1
        products = details[close].astype(np.float32) @ details[row].astype(np.float32)
        # The 1 keeps pictures without detail apart.
        for other in close[products >= max(threshold * norms[row], 1) * norms[close]]:
            yield row, int(other)
