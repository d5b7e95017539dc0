"""Measures of single pictures, and what they show: dark, bright, blurry, empty and odd-sized pictures.

The measures and their thresholds are CleanVision's (https://github.com/cleanlab/cleanvision). Its own search copies the
whole list of files to every process again and again, so the thresholds are applied here directly. Its functions for one
picture, and imagehash's perceptual hash, spend most of their time on arguments and general cases where pictures are
small; `measure` computes the same numbers, to the last bit, in a third of the time.
"""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.parallel import on_all_cores
from darkroom.core.terminal import progress
from darkroom.images.decode import decode

# CleanVision's issues except "grayscale": every picture becomes RGB anyway.
ISSUES = ("dark", "light", "blurry", "low_information", "odd_size", "odd_aspect_ratio")
LARGEST_SIDE = 128  # pictures are reduced to this for all measures except those of size
BLUR_SIDE = 64  # and to this for sharpness
DETAIL_SIDE = 32
HASH_SIDE = 8  # bits of the perceptual hash in both directions
PERCENTILES = (1, 5, 10, 15, 90, 95, 99)  # of brightness
# CleanVision's raw scores by column name.
PROPERTIES = (
    "aspect_ratio",
    "size",
    *(f"brightness_perc_{share}" for share in PERCENTILES),
    "brightness",
    "entropy",
    "blurriness",
    "blurriness_grayscale_std",
)
# A row of the measures of one picture. The perceptual hash has 64 bits.
MEASURES = np.dtype(
    [
        ("height", np.int32),
        ("width", np.int32),
        ("properties", np.float64, len(PROPERTIES)),
        ("hash", np.uint64),
        ("detail", np.int8, DETAIL_SIDE**2),
        ("grey", np.bool_),
    ]
)


SHOWN = ("width", "height", "brightness", "sharpness")


def measure_files(paths: Sequence[Path]) -> np.ndarray:
    """Measure picture files on all cores: an array of `MEASURES`."""
    rows = progress(on_all_cores(_measure_file, paths), len(paths), "inspecting")
    return np.frombuffer(b"".join(rows), MEASURES)


def _measure_file(path: Path) -> bytes:
    return measure(decode(path))


def measure(pixels: np.ndarray) -> bytes:
    """The measures of a picture, (height, width) or (height, width, 3), as the bytes of a row of `MEASURES`."""
    from PIL import Image

    height, width = pixels.shape[:2]
    # CleanVision has other thresholds for grey files than for colour.
    if pixels.ndim == 3 and _is_grey(pixels):
        pixels = pixels[..., 0]
    image = Image.fromarray(pixels)
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), reducing_gap=2.0)
    grey = image.convert("L")
    properties = (
        min(width / height, height / width),
        math.sqrt(width * height),
        *_brightness(np.asarray(image)),
        image.entropy(),
        *_sharpness(image),
    )
    row = np.empty((), MEASURES)  # a tuple would be converted value by value
    row["height"], row["width"], row["properties"] = height, width, properties
    row["hash"], row["detail"], row["grey"] = _perceptual_hash(grey), _detail(grey), pixels.ndim == 2
    return row.tobytes()


def _is_grey(pixels: np.ndarray) -> bool:
    red, green, blue = (pixels[..., channel] for channel in range(3))
    return np.array_equal(red, green) and np.array_equal(green, blue)


def _brightness(pixels: np.ndarray) -> tuple[float, ...]:
    """The percentiles of the pixels' brightness, and the brightness of the mean colour."""
    from cleanvision.issue_managers.image_property import calculate_brightness

    if pixels.ndim == 2:
        ordered = np.sort(pixels, axis=None)
        means = [int(ordered.sum()) / ordered.size] * 3
    else:
        channels = [pixels[..., channel].astype(int) for channel in range(3)]
        ordered = np.sort(calculate_brightness(*channels), axis=None)
        means = [int(channel.sum()) / channel.size for channel in channels]
    below, above, share = _positions(ordered.size)
    low, high = ordered[below], ordered[above]
    if pixels.ndim == 2:
        low, high = low / 255.0, high / 255.0
    step = high - low
    # As np.percentile has them.
    percentiles = np.where(share < 0.5, low + step * share, high - step * (1 - share))
    return *percentiles, float(calculate_brightness(*means))


@functools.lru_cache
def _positions(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Between which of `count` ordered values the percentiles are, and how far they are from the first of both."""
    position = (count - 1) * (np.array(PERCENTILES) / 100)
    below = position.astype(int)
    return below, np.minimum(below + 1, count - 1), position - below


def _sharpness(image: Any) -> tuple[float, float]:
    """The standard deviation of the edges, and that of the histogram of grey values."""
    from PIL import ImageFilter

    ratio = max(image.size) / BLUR_SIDE
    if ratio > 1:
        image = image.resize((max(int(image.width // ratio), 1), max(int(image.height // ratio), 1)))
    grey = image.convert("L")
    edges, values = (np.frombuffer(part.tobytes(), np.uint8) for part in (grey.filter(ImageFilter.FIND_EDGES), grey))
    wide = edges.astype(np.int64)
    count, total, squares = wide.size, int(wide.sum()), int(wide @ wide)
    deviations = np.bincount(values, minlength=256) - count / 256
    return math.sqrt((squares - total**2 / count) / count), math.sqrt((deviations * deviations).sum() / 256)


def _perceptual_hash(grey: Any) -> int:
    """`imagehash.phash`: which low frequencies are stronger than their median."""
    from PIL import Image
    from scipy.fft import dctn

    side = 4 * HASH_SIDE
    pixels = np.asarray(grey.resize((side, side), Image.Resampling.LANCZOS))
    low = dctn(pixels)[:HASH_SIDE, :HASH_SIDE].ravel()
    middle = np.partition(low, (low.size // 2 - 1, low.size // 2))[low.size // 2 - 1 : low.size // 2 + 1]
    return int.from_bytes(np.packbits(low > middle.sum() / 2).tobytes(), "big")


def _detail(grey: Any) -> np.ndarray:
    """Fine detail: a small version minus a blurred one, scaled to int8, flattened."""
    from PIL import Image, ImageFilter

    small = grey.resize((DETAIL_SIDE, DETAIL_SIDE), Image.Resampling.BILINEAR)
    blurred = np.asarray(small.filter(ImageFilter.GaussianBlur(1)), np.float32)
    fine = (np.asarray(small, np.float32) - blurred).ravel()
    fine -= fine.mean()
    return np.rint(fine * (127 / max(float(np.abs(fine).max()), 1.0))).astype(np.int8)


def shown(measures: np.ndarray) -> list[tuple[int, int, float, float]]:
    """The measures `SHOWN` of each row of `MEASURES`: width and height in pixels, brightness from 0 to 1, sharpness."""
    light, sharpness = (measures["properties"][:, PROPERTIES.index(name)] for name in ("brightness", "blurriness"))
    columns = (measures["width"], measures["height"], light.round(4), sharpness.round(2))
    return list(zip(*(column.tolist() for column in columns), strict=True))


def issues(measures: np.ndarray) -> dict[str, np.ndarray]:
    """Row numbers of the pictures with each issue, by CleanVision's thresholds; odd sizes are odd within this set."""
    import pandas as pd

    manager = _issue_manager()
    manager.issues = pd.DataFrame(index=range(len(measures)))
    manager.update_issues(pd.DataFrame(measures["properties"], columns=list(PROPERTIES)), list(ISSUES))
    return {name: np.flatnonzero(manager.issues[f"is_{name}_issue"]) for name in ISSUES}


@functools.cache
def _issue_manager() -> Any:
    from cleanvision.issue_managers.image_property_issue_manager import ImagePropertyIssueManager

    return ImagePropertyIssueManager()
