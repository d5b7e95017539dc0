"""Leave metadata out of picture files whose pixels are good, but which Pillow refuses for their metadata.

Pillow limits the text of a PNG (compressed text may be a bomb), and stops at sums or lengths that are wrong in parts
which do not change the pixels.
"""

import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import IO

LARGEST = 2**30  # bytes of a file, which is copied in memory
PIECES = 2**18  # of which it consists
TEXTS = 64  # that may say how it is turned: to read one can take a millisecond
_TEXT_BYTES = 2**20  # Pillow's limit of a text

# The chunks of a PNG that do not change its pixels, and those of an animation, whose first frame is in IDAT. A chunk of
# any other name stays, so that a damaged name never costs a palette or transparency.
_PNG_METADATA = frozenset(
    b"tEXt zTXt iTXt iCCP gAMA cHRM sRGB cICP mDCV cLLI pHYs tIME bKGD hIST sPLT oFFs sCAL pCAL sTER dSIG caBX iDOT "
    b"acTL fcTL fdAT".split()
)
_TURNS = (b"XML:com.adobe.xmp", b"Raw profile type exif")  # texts in which Pillow searches the orientation


def left_out(stream: IO[bytes], name: str) -> bytes | None:
    """A picture file without metadata that is not needed; None if there is none, and for other formats."""
    parts = {"PNG": _png_parts, "JPEG": _jpeg_parts, "GIF": _gif_parts}.get(name)
    if parts is None or stream.seek(0, 2) > LARGEST:
        return None
    stream.seek(0)
    pieces = list(itertools.islice(parts(stream.read()), PIECES + 1))
    if len(pieces) > PIECES:
        return None
    return b"".join(piece for piece, needed in pieces if needed) if not all(needed for _, needed in pieces) else None


def _png_parts(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """The signature and chunks of a PNG, and whether each is needed."""
    yield data[:8], True
    place, texts = 8, 0
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        chunk = data[place : place + length + 12]
        kind, text = chunk[4:8], chunk[8:-4]
        texts += (turns := text.startswith(_TURNS))
        yield chunk, kind not in _PNG_METADATA or (turns and texts <= TEXTS and not _is_bomb(kind, text))
        place += length + 12
    yield data[place:], True


def _is_bomb(kind: bytes, text: bytes) -> bool:
    """Whether a text chunk holds more than Pillow accepts."""
    if kind == b"iTXt":  # keyword, 0, whether it is compressed, method, language, 0, keyword in that language, 0, text
        rest = text.partition(b"\0")[2]
        if rest[:1] != b"\1":
            return len(text) > _TEXT_BYTES
        packed = rest[2:].split(b"\0", 2)[-1]
    elif kind == b"zTXt":
        packed = text.partition(b"\0")[2][1:]
    else:
        return len(text) > _TEXT_BYTES
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed, _TEXT_BYTES)
    except zlib.error:
        return True
    return bool(unpacker.unconsumed_tail)


def _jpeg_parts(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """The segments of a JPEG before its pixels, and the rest as one, and whether each is needed."""
    yield data[:2], True
    place = 2
    while data[place : place + 1] == b"\xff" and place + 4 <= len(data):
        marker = data[place + 1]
        if marker == 0xFF:  # filling
            place += 1
            continue
        if marker == 0xDA:  # pixels
            break
        (length,) = struct.unpack_from(">H", data, place + 2)
        segment = data[place : place + 2 + length]
        yield segment, _is_needed(marker, segment[4:])
        place += 2 + length
    yield data[place:], True


def _is_needed(marker: int, content: bytes) -> bool:
    """Whether a segment of a JPEG says what its pixels mean: not a comment, nor most of an application's."""
    if marker == 0xE0:
        return content.startswith(b"JFIF\0") and len(content) >= 14
    if marker == 0xE1:
        return content.startswith(b"Exif\0\0")  # the orientation
    return marker != 0xFE and (marker == 0xEE or not 0xE0 <= marker <= 0xEF)  # 0xEE: how the colours are coded


def _gif_parts(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """The header and extensions of a GIF before its first frame, and the rest as one, and whether each is needed."""
    flags = data[10] if len(data) > 10 else 0
    place = 13 + (3 * (2 << (flags & 7)) if flags & 128 else 0)  # behind the palette
    yield data[:place], True
    while data[place : place + 1] == b"\x21":
        end = place + 2
        while end < len(data) and data[end]:
            end += data[end] + 1
        # What is transparent, and how long a frame is shown.
        yield data[place : end + 1], data[place + 1 : place + 3] == b"\xf9\4"
        place = end + 1
    yield data[place:], True
