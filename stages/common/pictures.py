"""Pictures on disk: which files are one, and what their pixels are. Every stage decodes them here."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.common.errors import StageError

EXTENSIONS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}

PARTS = ("train", "val", "test")


class Picture(NamedTuple):
    """One labelled picture."""

    path: Path
    label: str


def class_folders(folder: Path) -> list[Path]:
    """The class folders below `folder`, sorted by name; hidden ones do not count."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def labelled(folder: Path) -> list[Picture]:
    """All files in `folder/<class>/`, in canonical order (by class, then by path); hidden files do not count.

    Raises:
        StageError: `folder` does not exist.
    """
    if not folder.is_dir():
        raise StageError(f"{folder} is not a folder: run `dvc repro`, which makes it.")
    return [
        Picture(path, classes.name)
        for classes in class_folders(folder)
        for path in sorted(classes.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def decode(source: Path | bytes) -> np.ndarray:
    """Pixels of a picture file or of its bytes, as uint8 of shape (height, width, 3), RGB, upright.

    EXIF orientation is applied; transparency is laid on white; 16-bit greys are scaled to 8 bits; of an animation the
    first frame counts.

    Raises:
        StageError: the file is not a picture that can be read whole; the message is the reason.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
            image: Image.Image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):
                return np.repeat(_eight_bits(np.asarray(image))[..., None], 3, axis=-1)
            if image.has_transparency_data:
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image.convert("RGBA"))
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError:
        raise StageError("not a picture") from None
    except Exception as error:  # Pillow's plugins raise nearly anything on a damaged file
        raise StageError(f"cannot be decoded ({' '.join(str(error).split()) or type(error).__name__})") from None


def _eight_bits(grey: np.ndarray) -> np.ndarray:
    """16-bit grey values (Pillow's modes I and I;16) to 8 bits."""
    return (np.clip(grey, 0, 65535) // 257).astype(np.uint8)
