"""PNG and TIFF files of 16-bit values, made by hand: Pillow does not write those with colours."""

import struct
import zlib

import numpy as np


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, depth, colours, rows, before=b""):
    """A PNG whose rows begin with their filter; `before` are chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + before
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def wide_png(values, before=b""):
    """Values (height, width) or (height, width, 2 to 4 channels), uint16."""
    colours = {1: 0, 2: 4, 3: 2, 4: 6}[1 if values.ndim == 2 else values.shape[2]]
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    return png(values.shape[1], values.shape[0], 16, colours, rows, before)


def wide_tiff(values, order="<", compressed=False, apart=False, tags=()):
    """Values (height, width) or (height, width, channels), uint16.

    Args:
        values: the pixels.
        order: that of the bytes.
        compressed: by Deflate, which libtiff decodes and not Pillow.
        apart: each channel by itself.
        tags: more of them, (number, value), or others for those that a file must have.
    """
    height, width = values.shape[:2]
    channels = 1 if values.ndim == 2 else values.shape[2]
    parts = [values[..., channel] for channel in range(channels)] if apart and channels > 1 else [values]
    data = [part.astype(f"{order}u2").tobytes() for part in parts]
    data = [zlib.compress(part) for part in data] if compressed else data
    places = [8 + sum(map(len, data[:number])) for number in range(len(data) + 1)]
    entries = {256: [width], 257: [height], 258: [16] * channels, 259: [8 if compressed else 1]}
    entries |= {262: [2 if channels > 2 else 1], 273: places[:-1], 277: [channels], 278: [height]}
    entries |= {279: [len(part) for part in data], 284: [2 if apart else 1]}
    entries |= {338: [2]} if channels in (2, 4) else {}
    entries |= {number: [value] for number, value in tags}
    long = (256, 257, 273, 278, 279)
    directory, behind = struct.pack(f"{order}H", len(entries)), b""
    for number, content in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(content)}{'I' if number in long else 'H'}", *content)
        if len(packed) > 4:
            place = places[-1] + 2 + 12 * len(entries) + 4 + len(behind)
            behind, packed = behind + packed, struct.pack(f"{order}I", place)
        kind = 4 if number in long else 3
        directory += struct.pack(f"{order}HHI", number, kind, len(content)) + packed.ljust(4, b"\0")
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, places[-1])
    return start + b"".join(data) + directory + bytes(4) + behind


def bits(values, count):
    """8-bit values as `count` bits, with something in the lower ones."""
    wide = values.astype(np.uint32) * 257
    return (wide >> (16 - count)).astype(np.uint16)
