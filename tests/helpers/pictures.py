"""Real pictures for tests, and how they are written."""

import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from darkroom.core.errors import UserError
from darkroom.download.params import Params
from darkroom.images.decode import decode, has_wrong_suffix

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


def write_splits(folder: Path, source: Path, train: int = 30, val: int = 10, test: int = 10) -> None:
    """Write a project's data/split with so many pictures of each of `CLASSES`, and a data/augmented without any.

    Args:
        folder: of the project.
        source: a folder with a folder of pictures for each class.
        train: pictures of a class in train, the first ones.
        val: the next ones.
        test: the next ones after these.
    """
    for label in CLASSES:
        files = iter(sorted((source / label).iterdir()))
        for part, count in (("train", train), ("val", val), ("test", test)):
            target = folder / "data/split" / part / label
            target.mkdir(parents=True)
            for path in islice(files, count):
                shutil.copy(path, target)
    (folder / "data/augmented").mkdir()
    (folder / "data/augmented/.left_out.csv").write_text("picture\n")
    (folder / "reports").mkdir(exist_ok=True)
    (folder / "reports/augment.json").write_text("{}")


def check_picture_or_reason(data: bytes) -> None:
    """Check that damaged data is either refused with a reason, or decoded to a whole picture."""
    try:
        pixels = decode(data, max_pixels=1e6)
    except UserError as reason:
        assert str(reason).isprintable()
    else:
        assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)
        has_wrong_suffix("x.png", data)
