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
    """Params of the download stage: every good picture is kept, and a bad file is an error."""
    return Params(**{"source": "folder", "limit_per_class": None, "on_bad": "fail"} | changes)


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write pixels as a picture file of the format that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path
