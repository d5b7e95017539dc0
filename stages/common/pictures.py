"""Pictures on disk: which files are one, and what their pixels are. Every stage decodes them here."""

import contextlib
import io
import math
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.common.errors import StageError
from stages.common.files import read_csv
from stages.common.paths import AUGMENTED, LEFT_OUT, SPLIT

# What is taken for a picture, by Pillow's name, with the endings of its file names. Others, some of which would start
# programs, are not even looked at.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}

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


def listed(part: str) -> list[Picture]:
    """Pictures of a split in canonical order; of train without those left out, and with the augmented ones."""
    pictures = labelled(SPLIT / part)
    if part != "train":
        return pictures
    left_out = {SPLIT / part / row["picture"] for row in read_csv(AUGMENTED / LEFT_OUT)}
    return [*(picture for picture in pictures if picture.path not in left_out), *labelled(AUGMENTED)]


def decode(
    source: Path | bytes, min_side: int = 1, max_pixels: float = math.inf, max_side: float = math.inf
) -> np.ndarray:
    """Pixels of a picture file or of its bytes, as uint8 of shape (height, width, 3), RGB, upright.

    EXIF orientation is applied; greys, palettes and CMYK become RGB; transparency is laid on white; 16-bit greys are
    scaled to 8 bits, of 16-bit colours the upper 8 count; of an animation the first frame counts. What the file is
    called does not count. A picture with more than `max_pixels`, or a side longer than `max_side`, is refused by its
    header, before it takes memory.

    Raises:
        StageError: the file is not a picture that can be read whole, or out of bounds; the message is the reason.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # max_pixels is the limit
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=list(FORMATS)) as opened:
            width, height = opened.size
            if width * height > max_pixels:
                raise StageError(f"{width:,} x {height:,} pixels are more than the largest picture may have")
            if max(width, height) > max_side:
                raise StageError(f"{width:,} x {height:,} pixels: the longer side may have {max_side:,}")
            if min(width, height) < min_side:
                raise StageError(f"{width} x {height} pixels: the shorter side must have {min_side}")
            image: Image.Image = opened
            with contextlib.suppress(SyntaxError, ValueError, TypeError, KeyError, struct.error):  # damaged EXIF data
                image = ImageOps.exif_transpose(opened)
            if image.mode == "F":
                raise StageError("its pixels are floating-point numbers: save it with 8 or 16 bits")
            if image.mode.startswith("I"):
                return np.repeat(_eight_bits(np.asarray(image))[..., None], 3, axis=-1)
            if image.has_transparency_data:
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image.convert("RGBA"))
            return np.asarray(image.convert("RGB"))
    except StageError:
        raise
    except UnidentifiedImageError:
        raise StageError("not a picture of a known format") from None
    except Exception as error:  # Pillow's plugins raise nearly anything on a damaged file
        raise StageError(f"cannot be decoded ({' '.join(str(error).split()) or type(error).__name__})") from None


def named_wrongly(name: str, data: bytes) -> bool:
    """Whether a picture's file name promises another format than its content has."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=list(FORMATS)) as opened:
        known = "JPEG" if opened.format == "MPO" else str(opened.format)  # the JPEG of many telephones
    return Path(name).suffix.lower() not in FORMATS[known]


def _eight_bits(grey: np.ndarray) -> np.ndarray:
    """16-bit grey values (Pillow's modes I and I;16) to 8 bits."""
    return (np.clip(grey, 0, 65535) // 257).astype(np.uint8)
