"""What a picture file costs to decode, told by its structure, before its pixels are decoded.

The number of pixels bounds most costs, but not all: a few kilobytes can ask for hundreds of passes over the pixels, for
a tile much larger than the picture, or for millions of blocks. The limits are far above what cameras, scanners and
programs write, and none of them is a time, so that the same pictures are refused on every machine.
"""

import math
import re
import struct
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any

from darkroom.core.errors import UserError

READS = 2**21  # of a header, and of formats that Pillow decodes in Python
EXIF_SEGMENTS = 256  # of a JPEG, which Pillow joins one by one
SCANNED = 2**31  # pixels that all scans of a JPEG pass over: 21 scans of a picture of 100 megapixels
SCAN = 2**16  # pixels that take as long as the start of a scan
PADDED = 2**24  # pixels of a TIFF's tiles, or four times those of the picture
TILES = 2**19  # or strips, of a TIFF
BLOCKS = 2**22  # of coefficients in a JPEG 2000
BLOCK_LAYERS = 2**27
PLAIN = 2**24  # numbers written as text in a PPM

_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # of a JPEG, also among its pixels
_COMPRESSION, _STRIPS, _STRIP_BYTES, _TILE_WIDTH, _TILE_LENGTH, _TILES, _TILE_BYTES = 259, 273, 279, 322, 323, 324, 325
_JPEG_IN_TIFF = (6, 7)
_CODING, _COMPONENT_CODING, _TILE_PART, _DATA, _END = b"\x52", b"\x53", b"\x90", b"\x93", b"\xd9"  # of JPEG 2000


class CountedReads:
    """A stream that can be read so many times: each read is a step of a loop in Python."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.left = stream, READS
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size: int = -1) -> bytes:
        """Read as the stream does.

        Raises:
            UserError: the file has too many parts.
        """
        self.left -= 1
        if self.left < 0:
            raise too_costly(f"more than {READS:,} parts")
        return self.stream.read(size)


def too_costly(what: str) -> UserError:
    """The reason to refuse a file."""
    return UserError(f"it would take too long or too much memory to decode: it has {what}")


def check_header(stream: IO[bytes], name: str) -> None:
    """Check what is done when a picture is opened, and what Pillow does not tell of an opened one.

    Args:
        stream: the file.
        name: Pillow's name of its format.

    Raises:
        UserError: it costs more than a real picture; the message is the reason.
    """
    stream.seek(0)
    if name == "JPEG" and stream.read().count(b"Exif\0\0") > EXIF_SEGMENTS:
        raise too_costly(f"more than {EXIF_SEGMENTS} segments of EXIF data")


def check_pixels(file: Any, stream: IO[bytes]) -> None:
    """Check what is done when the pixels of an opened picture are loaded.

    Raises:
        UserError: it costs more than a real picture; the message is the reason.
    """
    place = stream.tell()
    stream.seek(0)
    pixels = file.width * file.height
    if file.format in ("JPEG", "MPO"):
        data, most = stream.read(), SCANNED // (pixels + SCAN)
        if data.count(b"\xff\xda") > most and sum(marker == 0xDA for marker in _jpeg_markers(data)) > most:
            raise too_costly(f"more than {most:,} scans of {file.width:,} x {file.height:,} pixels")
    elif file.format == "JPEG2000":
        _check_blocks(stream.read())
    elif file.format == "TIFF":
        _check_tiles(file, stream)
    elif file.format == "PPM" and file.tile[0].codec_name == "ppm_plain" and pixels * len(file.getbands()) > PLAIN:
        raise too_costly(f"more than {PLAIN:,} numbers as text; save it in another format")
    stream.seek(place)


def _jpeg_markers(data: bytes) -> Iterator[int]:
    """The markers of a JPEG up to its end."""
    place = 2
    while (match := _MARKER.search(data, place)) and match[1] != b"\xd9":
        yield match[1][0]
        place = match.end() + int.from_bytes(data[match.end() : match.end() + 2], "big")


def _check_tiles(file: Any, stream: IO[bytes]) -> None:
    tags = file.tag_v2
    width, length = tags.get(_TILE_WIDTH, file.width), tags.get(_TILE_LENGTH, 0)
    offsets = tags.get(_TILES if length else _STRIPS, ())
    if len(offsets) > TILES:
        raise too_costly(f"{len(offsets):,} tiles")
    area = width * length if length else math.ceil(file.width * file.height / max(len(offsets), 1))
    padded = area * math.ceil(file.width / width) * math.ceil(file.height / length) if length else 0
    if padded > max(4 * file.width * file.height, PADDED):
        raise too_costly(f"tiles of {width:,} x {length:,} pixels, but only {file.width:,} x {file.height:,} itself")
    if tags.get(_COMPRESSION) in _JPEG_IN_TIFF:
        sizes = tags.get(_TILE_BYTES if length else _STRIP_BYTES, ())
        data, parts = stream.read(), Counter(zip(offsets, sizes, strict=False))
        if sum(size for _, size in parts) > 2 * len(data):
            raise too_costly("tiles that overlap in the file")
        scans = sum(data.count(b"\xff\xda", start, start + size) * uses for (start, size), uses in parts.items())
        if scans * (area + SCAN) > max(SCANNED, 4 * len(offsets) * (area + SCAN)):
            raise too_costly(f"{scans:,} scans in {len(offsets):,} tiles")


def _check_blocks(data: bytes) -> None:
    """Check the blocks of coefficients in each codestream of a JPEG 2000, all of which are made before one is read."""
    for found in re.finditer(rb"\xff\x4f\xff\x51", data):
        start = found.start()
        right, bottom, left, top = struct.unpack(">IIII", data[start + 8 : start + 24].ljust(16, b"\0"))
        components = int.from_bytes(data[start + 40 : start + 42], "big")
        values = max(right - left, 0) * max(bottom - top, 0) * components
        for layers, sizes in _codings(data, start + 2, 2 if components > 256 else 1):
            # Exponents of two: a block's width and height, each less 2, and those of precincts, in four bits each.
            width = min((sizes[1] & 15) + 2, *(size & 15 for size in sizes[5:]), 15)
            height = min((sizes[2] & 15) + 2, *(size >> 4 for size in sizes[5:]), 15)
            blocks = values >> (width + height)
            if blocks > BLOCKS or blocks * layers > BLOCK_LAYERS:
                raise too_costly(f"{blocks:,} blocks in {layers:,} layers")


def _codings(data: bytes, place: int, index_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Layers, and sizes of blocks and precincts, in all headers of a codestream: the main one and those of tiles."""
    part = part_bytes = 0
    for _ in range(READS):
        marker, length = data[place + 1 : place + 2], int.from_bytes(data[place + 2 : place + 4], "big")
        content = data[place + 4 : place + 2 + length]
        if marker == _CODING and len(content) >= 10:
            yield int.from_bytes(content[2:4], "big"), content[5:]
        elif marker == _COMPONENT_CODING and len(content) >= index_bytes + 6:
            yield 1, content[index_bytes + 1 :]
        elif marker == _TILE_PART:
            part, part_bytes = place, int.from_bytes(content[2:6], "big")
        elif marker == _DATA:
            place, length = part, part_bytes - 2
        if data[place : place + 1] != b"\xff" or marker in (b"", _END) or length < 2:
            return
        place += 2 + length
    raise too_costly(f"more than {READS:,} parts")
