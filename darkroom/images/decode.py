"""Decoding of picture files, the same for every stage."""

import contextlib
import io
import math
import struct
from pathlib import Path

import numpy as np

from darkroom.core.errors import UserError, is_of_the_machine

# The accepted formats by Pillow's name, with the suffixes of their file names. Pillow does not try any other: some of
# its plugins start programs.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}


def decode(
    source: Path | bytes, min_side: int = 1, max_pixels: float = math.inf, max_side: float = math.inf
) -> np.ndarray:
    """Pixels of a picture file or of its bytes, as uint8 of shape (height, width, 3), RGB, upright.

    EXIF orientation is applied; grey, palette and CMYK become RGB; transparency is blended with white; 16-bit grey is
    scaled to 8 bits, and of 16-bit colours the upper 8 bits are used; of an animation, the first frame. The file's name
    is ignored. A picture with more than `max_pixels`, or a side longer than `max_side`, is refused by its header,
    before it takes memory.

    Raises:
        UserError: the file is not a complete picture, or out of bounds; the message is the reason.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # max_pixels is the limit
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=list(FORMATS)) as opened:
            width, height = opened.size
            if width * height > max_pixels:
                raise UserError(f"{width:,} x {height:,} pixels are more than the largest picture may have")
            if max(width, height) > max_side:
                raise UserError(f"{width:,} x {height:,} pixels: the longer side may have {max_side:,}")
            if min(width, height) < min_side:
                raise UserError(f"{width} x {height} pixels: the shorter side must have {min_side}")
            image: Image.Image = opened
            with contextlib.suppress(SyntaxError, ValueError, TypeError, KeyError, struct.error):  # damaged EXIF data
                image = ImageOps.exif_transpose(opened)
            if image.mode == "F":
                raise UserError("its pixels are floating-point numbers: save it with 8 or 16 bits")
            if image.mode.startswith("I"):
                return np.repeat(_eight_bits(np.asarray(image))[..., None], 3, axis=-1)
            if image.has_transparency_data:
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image.convert("RGBA"))
            return np.asarray(image.convert("RGB"))
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError("not a picture of a known format") from None
    except Exception as error:  # Pillow's plugins raise nearly anything on a damaged file
        if is_of_the_machine(error):
            raise
        raise UserError(f"cannot be decoded ({' '.join(str(error).split()) or type(error).__name__})") from None


def has_wrong_suffix(name: str, data: bytes) -> bool:
    """Whether the suffix of a picture's file name is that of another format."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=list(FORMATS)) as opened:
        kind = "JPEG" if opened.format == "MPO" else str(opened.format)  # the JPEG files of many phones
    return Path(name).suffix.lower() not in FORMATS[kind]


def _eight_bits(grey: np.ndarray) -> np.ndarray:
    """16-bit grey values (Pillow's modes I and I;16) as 8 bits."""
    return (np.clip(grey, 0, 65535) // 257).astype(np.uint8)
