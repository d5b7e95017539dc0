"""Real pictures for tests, and how they are written."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from darkroom.download.params import Params

FASHION = "fashion_mnist:3.0.1"
PER_CLASS = 60
CLASSES = ["Bag", "Coat", "Sandal"]  # those of small models


def download_params(**changes: Any) -> Params:
    """Params of the download stage: all good pictures are used, and a bad file is an error."""
    return Params(**{"source": "folder", "limit_per_class": None, "on_bad": "fail"} | changes)


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write pixels as a picture file of the format that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def photograph(number: int, height: int = 120, width: int = 160) -> Image.Image:
    """Something like a photograph: broad shapes and fine grain, different for each number."""
    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 255, (6, 8, 3), np.uint8))
    fine = Image.fromarray(random.integers(0, 255, (height // 4, width // 4, 3), np.uint8))
    layers = [layer.resize((width, height), Image.Resampling.BICUBIC) for layer in (coarse, fine)]
    return Image.blend(*layers, 0.25)


def bytes_by_name(folder: Path) -> dict[str, bytes]:
    """All files below a folder with their content."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
