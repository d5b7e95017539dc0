"""What a look at the whole set tells: near-duplicates, and dark, bright, blurry, empty and odd-sized pictures.

The measures of single pictures and their thresholds are CleanVision's (https://github.com/cleanlab/cleanvision). Its
own search hands the whole list of files to every process, time and again, so its functions are called here.
"""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from darkroom.core.parallel import on_all_cores
from darkroom.core.terminal import progress
from darkroom.images.decode import decode

# CleanVision's issues but "grayscale", which is no fault here: every picture becomes RGB.
ISSUES = ("dark", "light", "blurry", "low_information", "odd_size", "odd_aspect_ratio")
LARGEST_SIDE = 128  # pictures are reduced to this for all measures but those of size
DETAIL_SIDE = 32
BITS = 8  # of 64 in which the perceptual hashes of near-duplicates may differ


class Looks(NamedTuple):
    """What is measured on one picture."""

    height: int
    width: int
    properties: dict[str, float]  # CleanVision's raw scores by column name
    hash: int  # perceptual hash, 64 bits
    detail: np.ndarray  # int8 (DETAIL_SIDE * DETAIL_SIDE,)


def look(paths: Sequence[Path]) -> list[Looks]:
    """Measure pictures on all cores."""
    return list(progress(on_all_cores(_look, paths), len(paths), "inspecting"))


def _look(path: Path) -> Looks:
    from cleanvision.issue_managers.duplicate_issue_manager import get_hash
    from PIL import Image

    pixels = decode(path)
    height, width = pixels.shape[:2]
    # CleanVision's thresholds are those of grey files where a picture is grey.
    grey = (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    image = Image.fromarray(pixels[..., 0] if grey else pixels)
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), reducing_gap=2.0)
    properties: dict[str, float] = {
        "aspect_ratio": min(width / height, height / width),
        "size": math.sqrt(width * height),
    }
    for name in ("dark", "low_information", "blurry"):
        properties |= _manager().image_properties[name].calculate(image)
    phash = int(get_hash(image, {"hash_type": "phash", "hash_size": 8}), 16)
    return Looks(height, width, properties, phash, detail(image))


def detail(image: Any) -> np.ndarray:
    """Fine detail of a picture: what a small grey version of it has beyond a blurred one, scaled to int8."""
    from PIL import Image, ImageFilter

    grey = image.convert("L").resize((DETAIL_SIDE, DETAIL_SIDE), Image.Resampling.BILINEAR)
    blurred = np.asarray(grey.filter(ImageFilter.GaussianBlur(1)), np.float32)
    fine = (np.asarray(grey, np.float32) - blurred).ravel()
    fine -= fine.mean()
    return np.rint(fine * (127 / max(float(np.abs(fine).max()), 1.0))).astype(np.int8)


def issues(looks: Sequence[Looks]) -> dict[str, np.ndarray]:
    """Row numbers of the pictures that have each issue, by CleanVision's thresholds; odd sizes are odd in this set."""
    import pandas as pd

    manager = _manager()
    manager.issues = pd.DataFrame(index=range(len(looks)))
    manager.update_issues(pd.DataFrame([item.properties for item in looks]), list(ISSUES))
    return {name: np.flatnonzero(manager.issues[f"is_{name}_issue"]) for name in ISSUES}


@functools.cache
def _manager() -> Any:
    from cleanvision.issue_managers.image_property_issue_manager import ImagePropertyIssueManager

    return ImagePropertyIssueManager()


def near_duplicates(looks: Sequence[Looks], least: float | None) -> list[list[int]]:
    """Groups of row numbers that show the same picture: as it is, re-encoded, resized, or with other colours.

    Without `least`, only pictures on which everything measured is equal are a group.

    Candidates are pairs whose perceptual hashes differ in at most `BITS` bits. Equal hashes alone are no proof where
    all pictures of a class look alike, so the fine detail of both must agree: its correlation is at least `least`. On
    4,317 photographs of flowers it was above 0.9 for 28 pairs, all of them the same picture to the eye, and below 0.65
    for all but three of the others.
    """
    hashes = np.array([item.hash for item in looks], np.uint64)
    details = np.stack([item.detail for item in looks])
    norms = np.maximum(np.linalg.norm(details.astype(np.float32), axis=1), 1e-6)
    leader = list(range(len(looks)))

    def find(row: int) -> int:
        while leader[row] != row:
            leader[row] = row = leader[leader[row]]
        return row

    same: dict[Any, int] = {}
    for row, item in enumerate(looks):
        leader[row] = same.setdefault((item.hash, item.detail.tobytes(), *sorted(item.properties.items())), row)
    for row in progress(range(len(looks)), len(looks), "comparing") if least else ():
        others = np.flatnonzero(np.bitwise_count(hashes[row + 1 :] ^ hashes[row]) <= BITS) + row + 1
        products = details[others].astype(np.float32) @ details[row].astype(np.float32)
        for other in others[products >= max(least * norms[row], 1) * norms[others]]:
            first, second = sorted((find(row), find(int(other))))
            leader[second] = first
    groups: dict[int, list[int]] = {}
    for row in range(len(looks)):
        groups.setdefault(find(row), []).append(row)
    return [rows for rows in groups.values() if len(rows) > 1]
