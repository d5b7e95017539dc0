"""Decoding of picture files, the same for every stage."""

import contextlib
import io
import math
import stat
import struct
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from darkroom.core.errors import UserError, is_of_the_machine
from darkroom.images import costs, depth, metadata
from darkroom.images.formats import FORMATS, START, format_of, opened

if TYPE_CHECKING:
    from PIL import Image

DARK = 64  # upper bytes of 16-bit colours that are all this low are those of fewer bits, or of a very dark picture


class _Bounds(NamedTuple):
    """The sizes that a picture may have."""

    min_side: int
    max_pixels: float
    max_side: float

    def check_file(self, path: Path) -> None:
        """Refuse what would block, never end or take all memory when it is read."""
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError("not a regular file")
        if status.st_size > 8 * self.max_pixels + 2**24:
            raise UserError(f"{status.st_size:,} bytes are more than the largest picture may have")
        if not status.st_size:  # also those of /proc, some of which block
            raise UserError("empty file")

    def check(self, width: int, height: int) -> None:
        if width * height > self.max_pixels:
            raise UserError(f"{width:,} x {height:,} pixels are more than the largest picture may have")
        if max(width, height) > self.max_side:
            raise UserError(f"{width:,} x {height:,} pixels: the longer side may have {self.max_side:,}")
        if min(width, height) < self.min_side:
            raise UserError(f"{width} x {height} pixels: the shorter side must have {self.min_side}")


def decode(
    source: Path | bytes, min_side: int = 1, max_pixels: float = math.inf, max_side: float = math.inf
) -> np.ndarray:
    """Pixels of a picture file or of its bytes, as uint8 of shape (height, width, 3), RGB, upright.

    EXIF orientation is applied; HEIC and AVIF files state it in their own way, and by their standards EXIF does not
    count. Grey, palette and CMYK become RGB; transparency is blended with white; of an animation, the first frame, and
    of a HEIC file, the main picture. The file's name is ignored. Metadata that Pillow refuses is left out. A picture
    with more than `max_pixels`, or a side longer than `max_side`, is refused by its header, before it takes memory; so
    is one that would take much longer, or much more memory, than its pixels alone (`darkroom/images/costs.py`).

    Values of more than 8 bits are scaled to 8. A picture has as many bits as its file states (PNG: sBIT; TIFF:
    BitsPerSample, MaxSampleValue) or, if it does not, the smallest of 8, 10, 12, 14 and 16 that holds its largest
    value.

    Raises:
        UserError: the file is not a complete picture, or out of bounds; the message is the reason.
        TypeError: `source` is neither.
    """
    if not isinstance(source, Path | bytes):  # text from a request must never open a file
        raise TypeError(f"a picture is a Path or bytes, not {type(source).__name__}")
    bounds = _Bounds(min_side, max_pixels, max_side)
    try:
        if isinstance(source, Path):
            bounds.check_file(source)
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
            name = format_of(stream.read(START))
            if name is None:
                raise UserError("not a picture of a known format")
            try:
                return _pixels(stream, name, bounds)
            except UserError:
                raise
            except Exception:
                less = metadata.left_out(stream, name)
                if less is None:
                    raise
                return _pixels(io.BytesIO(less), name, bounds)
    except UserError:
        raise
    except Exception as error:  # Pillow's plugins raise nearly anything on a damaged file
        if is_of_the_machine(error):
            raise
        raise UserError(f"cannot be decoded ({' '.join(str(error).split()) or type(error).__name__})") from None


def has_wrong_suffix(name: str, data: bytes) -> bool:
    """Whether the suffix of a picture's file name is that of another format."""
    return Path(name).suffix.lower() not in FORMATS.get(format_of(data[:START]) or "", ())


def _pixels(stream: IO[bytes], name: str, bounds: _Bounds) -> np.ndarray:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # max_pixels is the limit
    costs.check_header(stream, name)
    with opened(stream, name) as file:
        bounds.check(*file.size)
        costs.check_pixels(file, stream)
        depth.use_planes(file)
        wide = depth.is_wide(file)
        stated = depth.stated(file, stream) if wide or file.mode.startswith("I") else depth.Stated()
        is_scaled = bool(file.tile) and file.tile[0].codec_name == "ppm"
        image = _scaled(file, stream) if is_scaled else _upright(file)
        if image.mode == "F":
            raise UserError("its pixels are floating-point numbers: save it with 8 or 16 bits")
        if image.mode.startswith("I"):
            return np.repeat(depth.grey(np.asarray(image), stated)[..., None], 3, axis=-1)
        if wide and np.asarray(image)[..., :3].max() <= DARK:
            image = _brightened(image, stream, name, stated)
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        return np.asarray(image.convert("RGB"))


def _upright(file: "Image.Image") -> "Image.Image":
    """Load the pixels and apply EXIF orientation, which pillow-heif resets when it has turned a HEIC file."""
    from PIL import ImageOps

    file.load()
    with contextlib.suppress(SyntaxError, ValueError, TypeError, KeyError, struct.error):  # damaged EXIF data
        return ImageOps.exif_transpose(file)
    return file


def _scaled(file: Any, stream: IO[bytes]) -> "Image.Image":
    """The pixels of an opened PPM whose largest value is not 255, as Pillow scales them, but not one by one."""
    from PIL import Image

    (_, _, offset, (_, largest)), bands = file.tile[0], len(file.getbands())
    stream.seek(offset)
    kind = np.dtype(np.uint8 if largest < 256 else ">u2")
    values = np.frombuffer(stream.read(kind.itemsize * file.width * file.height * bands), kind)
    white = 65535 if file.mode == "I" else 255
    table = np.minimum(np.rint(np.arange(2 ** (8 * kind.itemsize)) / largest * white), white)
    scaled = table.astype(np.int32 if file.mode == "I" else np.uint8)[values]
    return Image.fromarray(scaled.reshape(file.height, file.width, *[bands][: bands - 1]))


def _brightened(high: "Image.Image", stream: IO[bytes], name: str, stated: depth.Stated) -> "Image.Image":
    """Colours of 16 bits whose upper bytes are low, scaled by all their bits, for which the file is read once more."""
    from PIL import Image

    with opened(stream, name) as file:
        if name == "PPM":
            stream.seek(file.tile[0].offset)
            values = np.frombuffer(stream.read(6 * file.width * file.height), ">u2").reshape(file.height, file.width, 3)
            return Image.fromarray(depth.colours(values >> 8, values & 255, stated, None))
        depth.use_planes(file)
        grey = depth.is_grey(file)
        if not depth.use_low_bytes(file):
            return high
        low = np.asarray(_upright(file))
        transparent = high.info.get("transparency")
    return Image.fromarray(
        depth.colours(np.asarray(high), low[..., [1, 1, 1, 3]] if grey else low, stated, transparent)
    )
