"""Pixels of more than 8 bits, as 8 bits.

Cameras of microscopes and telescopes give 10, 12 or 14 bits, mostly stored in 16 without being scaled. A picture has as
many bits as its file states or, if it does not, the smallest of 8, 10, 12, 14 and 16 that holds its largest value; but
16, if its values are 8-bit ones scaled to 16.
"""

import struct
from typing import IO, Any, NamedTuple

import numpy as np

BITS = (8, 10, 12, 14, 16)
_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE_VALUE, _PLANES = 258, 262, 281, 284  # tags of TIFF
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B"}  # N is what libtiff gives: the order of this machine, see `low_bytes`
_COLOURS = ("RGB;16", "RGBX;16", "RGBA;16", "LA;16", "R;16")


class Stated(NamedTuple):
    """What a file says of its values."""

    largest: int = 0  # that a value may be; 0 if it does not say
    significant: int = 0  # bits by PNG's sBIT; 0 if there is none
    shift: int = 0  # bits by which the decoder moved the values up
    white_is_zero: bool = False


def stated(opened: Any, stream: IO[bytes]) -> Stated:
    """What the file of an opened picture says, whose pixels are not loaded yet."""
    if opened.format == "PNG":
        return Stated(significant=_significant_bits(stream))
    if opened.format == "TIFF":
        bits = opened.tag_v2.get(_BITS_PER_SAMPLE, (16,))[0]
        largest = opened.tag_v2.get(_MAX_SAMPLE_VALUE, 0)
        largest = max(largest) if isinstance(largest, tuple) else largest
        if opened.mode == "I;16" and bits < 16:
            largest = 2**bits - 1
        return Stated(largest, white_is_zero=opened.tag_v2.get(_PHOTOMETRIC) == 0)
    if opened.format == "PPM":
        tile = opened.tile[0]
        is_scaled = tile.codec_name != "raw" and tile.args[-1] != 65535  # by the largest value that the header states
        return Stated(65535 if is_scaled else 0)
    if opened.format in ("HEIF", "JPEG2000"):
        bits = opened.info["bit_depth"] if opened.format == "HEIF" else _jpeg2000_bits(stream)
        if 8 < bits < 16:
            return Stated(2**bits - 1, shift=16 - bits)
    return Stated()


def _significant_bits(stream: IO[bytes]) -> int:
    """The largest number in a PNG's chunk sBIT; 0 if there is none."""
    place = stream.tell()
    try:
        stream.seek(8)
        while len(head := stream.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"sBIT":
                return max(stream.read(min(length, 3)), default=0)
            if kind in (b"IDAT", b"IEND"):
                break
            stream.seek(length + 4, 1)
        return 0
    finally:
        stream.seek(place)


def _jpeg2000_bits(stream: IO[bytes]) -> int:
    """Bits of the first component, from the header."""
    place = stream.tell()
    stream.seek(0)
    start = stream.read(2**16)
    stream.seek(place)
    code = start.find(b"\xff\x4f\xff\x51")
    return (start[code + 42] & 127) + 1 if code >= 0 and code + 42 < len(start) else 0


def bits_of(values: np.ndarray, stated: Stated) -> int:
    """The bits of which the values are."""
    largest = int(values.max())
    if stated.significant:
        # PNG's standard has all values scaled to 16 bits, whatever sBIT says. Writers that store them as they are leave
        # the upper bits empty and use the lower ones.
        bits = max(stated.significant, 8)
        return bits if largest < 1 << bits and (values & (0xFFFF >> bits)).any() else 16
    low = values & 255
    if not stated.largest and (not low.any() or (low * 257 == values).all()):
        return 16
    return next(bits for bits in BITS if max(largest, min(stated.largest, 65535)) < 1 << bits)


def grey(values: np.ndarray, stated: Stated) -> np.ndarray:
    """Grey values (Pillow's modes I and I;16) as 8 bits."""
    values = np.clip(values, 0, 65535).astype(np.uint16) >> stated.shift
    bits = bits_of(values, stated)
    if stated.white_is_zero:
        values = np.uint16(2**bits - 1) - values
    return (values // 257 if bits == 16 else values.astype(np.uint32) * 255 // (2**bits - 1)).astype(np.uint8)


def is_wide(opened: Any) -> bool:
    """Whether Pillow drops the lower bytes of the colours of an opened picture that is not loaded yet."""
    if opened.mode not in ("RGB", "RGBA") or not opened.tile:
        return False
    tile = opened.tile[0]
    return _raw_mode(tile.args).startswith(_COLOURS) or (tile.codec_name == "ppm" and tile.args == ("RGB", 65535))


def is_grey(opened: Any) -> bool:
    """Whether an opened picture with `is_wide` is grey with transparency, in colours for want of a mode."""
    return _raw_mode(opened.tile[0].args).startswith("LA")


def use_planes(opened: Any) -> None:
    """Correct the raw modes of a TIFF that holds each colour apart: Pillow takes 16-bit values for twice as many."""
    if opened.format != "TIFF" or opened.tag_v2.get(_BITS_PER_SAMPLE, (8,))[0] != 16:
        return
    order = "L" if opened.tag_v2.prefix == b"II" else "B"
    opened.tile = [
        tile._replace(args=(f"{tile.args[0]};16{order}", *tile.args[1:]))
        if tile.codec_name == "raw" and tile.args[0] in ("R", "G", "B", "A")
        else tile
        for tile in opened.tile
    ]


def use_low_bytes(opened: Any) -> bool:
    """Have an opened picture give the lower bytes of its colours when it is loaded; whether that is possible."""
    if opened.tile[0].codec_name == "libtiff" and opened.tag_v2.get(_PLANES) == 2:
        return False
    opened.tile = [tile._replace(args=_low(tile.args)) for tile in opened.tile]
    return True


def _low(arguments: Any) -> Any:
    """A decoder's arguments with the raw mode of the other byte order, in which the lower byte is the upper one."""
    raw = _raw_mode(arguments)
    raw = "RGBA" if raw == "LA;16B" else raw[:-1] + _OTHER_ORDER[raw[-1]]  # RGBA: all four bytes as they are
    return raw if isinstance(arguments, str) else (raw, *arguments[1:])


def colours(high: np.ndarray, low: np.ndarray, stated: Stated, transparent: Any) -> np.ndarray:
    """Colours (height, width, 3 or 4) of upper and lower bytes as 8 bits.

    Args:
        high: the upper bytes.
        low: the lower bytes.
        stated: what the file says.
        transparent: the one colour that is transparent, or None.
    """
    values = high.astype(np.uint16) << 8 | low
    bits = bits_of(values[..., :3], stated)
    if transparent is not None:
        opaque = (values[..., :3] != np.array(transparent)).any(axis=-1)
        values = np.dstack([values[..., :3], np.where(opaque, 2**bits - 1, 0).astype(np.uint16)])
    opacity = values[..., 3:]
    opacity_bits = bits_of(opacity, Stated()) if opacity.size else bits
    if opacity_bits < 16:  # a dark picture: what is opaque tells the bits
        bits = opacity_bits = max(bits, opacity_bits)
    return np.concatenate([values[..., :3] >> (bits - 8), opacity >> (opacity_bits - 8)], axis=-1).astype(np.uint8)


def _raw_mode(arguments: Any) -> str:
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)
