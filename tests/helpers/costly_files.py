"""Small picture files that cost their reader much time or memory, each made from a good one."""

import struct
import zlib

import numpy as np

from tests.helpers.odd_files import encoded, photo
from tests.helpers.wide_files import chunk, png


def many_scans(side, scans, **options):
    """A progressive JPEG whose last scan comes again and again."""
    data = encoded(np.full((side, side, 3), 128, np.uint8), "JPEG", progressive=True, **options)
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * scans + b"\xff\xd9"


def many_exif(segments):
    """A JPEG with so many segments of EXIF, each full."""
    data = encoded(photo(1), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 65535) + b"Exif\0\0" + b"II*\0" + bytes(65523)
    return data[:2] + segment * segments + data[2:]


def tiff(entries, data=b"", order="<"):
    """A TIFF of these entries {tag: (type, values)}; data begins at byte 8."""
    sizes = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B"}
    directory, behind = struct.pack(f"{order}H", len(entries)), b""
    place = 8 + len(data)
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}{sizes[kind]}", *values)
        if len(packed) > 4:
            offset = place + 2 + 12 * len(entries) + 4 + len(behind)
            behind, packed = behind + packed, struct.pack(f"{order}I", offset)
        directory += struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", place) + data + directory + bytes(4) + behind


def tiled(width, height, tile, compression=8, samples=3, planes=1, predictor=1, data=b""):
    """A TIFF with tiles of `tile` pixels a side, all of which are the same bytes of the file."""
    count = -(-width // tile) * -(-height // tile) * (samples if planes == 2 else 1)
    entries = {256: (4, [width]), 257: (4, [height]), 258: (3, [8] * samples), 259: (3, [compression])}
    entries |= {262: (3, [2 if samples >= 3 else 1]), 277: (3, [samples]), 284: (3, [planes]), 317: (3, [predictor])}
    entries |= {322: (4, [tile]), 323: (4, [tile]), 324: (4, [8] * count), 325: (4, [len(data)] * count)}
    return tiff(entries, data)


def striped(width, height, rows, compression=8, samples=3, data=b""):
    """A TIFF whose strips are all the same bytes of the file."""
    count = -(-height // rows)
    entries = {256: (4, [width]), 257: (4, [height]), 258: (3, [8] * samples), 259: (3, [compression])}
    entries |= {262: (3, [2 if samples >= 3 else 1]), 277: (3, [samples]), 278: (4, [rows]), 284: (3, [1])}
    return tiff(entries | {273: (4, [8] * count), 279: (4, [len(data)] * count)}, data)


def jpeg_tiles(side, tile, scans):
    """A TIFF whose tiles are one progressive JPEG of many scans."""
    return tiled(side, side, tile, 7, data=many_scans(tile, scans, subsampling=0))


def tags(count, size):
    """A TIFF whose directory has so many entries that are all the same bytes of the file."""
    pixels = photo(1).tobytes()
    entries = {256: (4, [64]), 257: (4, [48]), 258: (3, [8] * 3), 259: (3, [1]), 262: (3, [2]), 277: (3, [3])}
    entries |= {278: (4, [48]), 273: (4, [8]), 279: (4, [len(pixels)])}
    data = pixels + bytes(size)
    made = bytearray(tiff(entries | {1000 + number: (7, [0]) for number in range(count)}, data))
    place = 8 + len(data) + 2 + 12 * len(entries)
    for number in range(count):
        struct.pack_into("<HHII", made, place + 12 * number, 1000 + number, 7, size, 8)
    return bytes(made)


def bmp_rle(width, height, body):
    """A BMP of 256 colours whose pixels are runs."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 16, 0)
    return b"BM" + struct.pack("<IHHI", 118 + len(body), 0, 0, 118) + header + bytes(64) + body


def ppm(magic, width, height, largest, body):
    return b"%s %d %d %d\n" % (magic, width, height, largest) + body


def png_chunks(count, kind=b"abCd", data=b""):
    before = chunk(kind, data) * count
    rows = b"".join(b"\0" + row.tobytes() for row in photo(1))
    return png(64, 48, 8, 2, rows, before)


def png_text(kind, count, size):
    packed = zlib.compress(bytes(size), 9)
    body = {b"zTXt": b"a\0\0" + packed, b"iCCP": b"a\0\0" + packed, b"iTXt": b"a\0\1\0\0\0" + packed}[kind]
    return png_chunks(count, kind, body)


def png_exif(count, size):
    body = bytearray(tags(count, size))
    return png_chunks(1, b"eXIf", bytes(body))


def gif_comments(count):
    data = encoded(photo(1), "GIF", "P")
    place = data.index(b"\x2c\0\0\0\0")
    return data[:place] + (b"\x21\xfe" + (b"\xff" + b"a" * 255) * 1 + b"\0") * count + data[place:]


def jpeg2000(size, tile=None, components=3, layers=1, precinct=None):
    """The headers of a codestream whose one tile has no data."""

    def marked(code, data):
        return b"\xff" + bytes([code]) + struct.pack(">H", len(data) + 2) + data

    sizes = struct.pack(">HIIIIIIIIH", 0, *size, 0, 0, *(tile or size), 0, 0, components) + b"\x07\x01\x01" * components
    precincts = bytes([precinct * 17] * 6) if precinct else b""
    coding = bytes([bool(precincts), 0]) + struct.pack(">H", layers) + bytes([0, 5, 4, 4, 0, 1]) + precincts
    steps = bytes([0x40] + [0x48] * 16)
    tile_part = marked(0x90, struct.pack(">HIBB", 0, 14, 0, 1)) + b"\xff\x93"
    return b"\xff\x4f" + marked(0x51, sizes) + marked(0x52, coding) + marked(0x5C, steps) + tile_part + b"\xff\xd9"


ZEROS = zlib.compress(bytes(2**24), 9)
# What makes the file, and a part of the reason why it is refused, or None if it is a good picture after all.
FILES = {
    "scans.jpg": (lambda: many_scans(2000, 600), "more than 528 scans of 2,000 x 2,000"),
    "small scans.jpg": (lambda: many_scans(64, 100_000), "more than 30,840 scans of 64 x 64"),
    "exif.jpg": (lambda: many_exif(300), "more than 256 segments of EXIF"),
    "segments.jpg": (lambda: b"\xff\xd8" + b"\xff\xe5\0\2" * 1_200_000, "parts"),
    "filling.jpg": (lambda: b"\xff\xd8" + b"\xff" * 2_200_000, "parts"),
    "tile.tif": (lambda: tiled(10, 10, 40_000, data=ZEROS), "tiles of 40,000 x 40,000 pixels, but only 10 x 10"),
    "planes.tif": (lambda: tiled(10, 10, 40_000, planes=2, data=ZEROS), "tiles of 40,000 x 40,000 pixels"),
    "predictor.tif": (lambda: tiled(10, 10, 40_000, predictor=2, data=ZEROS), "tiles of 40,000 x 40,000 pixels"),
    "tiles.tif": (lambda: tiled(900_000, 10, 4096, samples=1, data=ZEROS), "tiles of 4,096 x 4,096 pixels"),
    "strips.tif": (lambda: striped(10, 600_000, 1, 1, samples=1, data=bytes(10)), "600,000 tiles"),
    "jpeg.tif": (lambda: jpeg_tiles(9000, 4512, 90), "396 scans in 4 tiles"),
    "tags.tif": (lambda: tags(60_000, 2_000_000), None),
    "eXIf.png": (lambda: png_exif(60_000, 2_000_000), None),
    "chunks.png": (lambda: png_chunks(1_200_000), "parts"),
    "zTXt.png": (lambda: png_text(b"zTXt", 100, 10_000_000), None),
    "iTXt.png": (lambda: png_text(b"iTXt", 100, 10_000_000), None),
    "iCCP.png": (lambda: png_text(b"iCCP", 1, 100_000_000), None),
    "comments.gif": (lambda: gif_comments(1_000_000), "parts"),
    "runs.bmp": (lambda: bmp_rle(2000, 2000, b"\1\1" * 4_000_000), "parts"),
    "plain.ppm": (lambda: ppm(b"P3", 3000, 3000, 255, b"0 " * 27_000_000), "more than 16,777,216 numbers as text"),
    "comment.ppm": (lambda: b"P6 #" + b"a" * 3_000_000 + b"\n10 10 255\n" + bytes(300), "parts"),
    "scaled.ppm": (lambda: ppm(b"P6", 3000, 3000, 1023, bytes(54_000_000)), None),
    "precincts.jp2": (lambda: jpeg2000((9000, 9000), precinct=1), "60,750,000 blocks"),
    "layers.jp2": (lambda: jpeg2000((9000, 9000), layers=65_535), "59,326 blocks in 65,535 layers"),
    "components.jp2": (lambda: jpeg2000((4000, 4000), components=16_000), ""),
    "tiles.jp2": (lambda: jpeg2000((255, 256), (1, 1)), ""),
}
