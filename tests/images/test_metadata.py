"""Good pixels with metadata that is long, damaged or hostile: the picture is kept, and memory is not taken."""

import io
import os
import random
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from darkroom.core.errors import UserError
from darkroom.images.decode import decode
from tests.helpers.odd_files import encoded, file, moving, palette_see_through, photo, turned
from tests.helpers.project import ROOT
from tests.helpers.wide_files import chunk

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # about damaged metadata

PIXELS = photo(6)
LONG = np.random.default_rng(1).integers(32, 127, 3_000_000, np.uint8).tobytes()
BEFORE, BEHIND = "before the pixels", "behind the pixels"
JPEG = 12  # how far its pixels may be from the original


def with_chunks(place, *chunks, data=None):
    """A PNG with more chunks."""
    data = data or encoded(PIXELS, "PNG")
    cut = 33 if place == BEFORE else len(data) - 12
    return data[:cut] + b"".join(chunks) + data[cut:]


def with_segments(*segments):
    """A JPEG with more segments, (marker, content)."""
    data = encoded(PIXELS, "JPEG", quality=95)
    more = [struct.pack(">BBH", 255, marker, len(content) + 2) + content for marker, content in segments]
    return data[:2] + b"".join(more) + data[2:]


def wrong_sum(name, content):
    return chunk(name, content)[:-1] + bytes([chunk(name, content)[-1] ^ 1])


TEXTS = {
    "text": [chunk(b"tEXt", b"k\0" + LONG)],
    "compressed": [chunk(b"zTXt", b"k\0\0" + zlib.compress(LONG))],
    "international": [chunk(b"iTXt", b"k\0\0\0\0\0" + LONG)],
    "international, compressed": [chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(LONG))],
    "xmp": [chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LONG))],
    "many": [chunk(b"tEXt", b"k\0" + LONG[:1_000_000])] * 70,
    "many compressed": [chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000)))] * 70,
}


@pytest.mark.parametrize("place", [BEFORE, BEHIND])
@pytest.mark.parametrize("name", TEXTS)
def test_a_png_with_long_text_is_kept(name, place):
    assert (decode(with_chunks(place, *TEXTS[name])) == PIXELS).all()


def test_a_png_with_a_large_colour_profile_is_kept():
    assert (decode(with_chunks(BEFORE, chunk(b"iCCP", b"a\0\0" + zlib.compress(LONG)))) == PIXELS).all()


@pytest.mark.parametrize("place", [BEFORE, BEHIND])
@pytest.mark.parametrize(
    "damaged",
    [
        *(wrong_sum(name, b"k\0v") for name in (b"tEXt", b"pHYs", b"tIME", b"iCCP")),
        *(chunk(name, b"") for name in (b"gAMA", b"pHYs", b"cHRM", b"sRGB", b"iCCP", b"zTXt", b"iTXt")),
        *(chunk(name, b"") for name in (b"eXIf", b"acTL")),
        chunk(b"iCCP", b"a\0\5xx"),
        chunk(b"zTXt", b"k\0\5xx"),
        chunk(b"zTXt", b"Raw profile type exif\0\0garbage"),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\5\0\0garbage"),
        chunk(b"eXIf", b"garbage"),
    ],
)
def test_a_png_with_damaged_metadata_is_kept(damaged, place):
    assert (decode(with_chunks(place, damaged)) == PIXELS).all()


@pytest.mark.parametrize(
    "segment",
    [
        (0xE0, b"JFIF\0"),
        (0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"MPF\0garbage"),
        (0xED, b"Photoshop 3.0\x008BIM\x03\xed"),
    ],
)
def test_a_jpeg_with_damaged_metadata_is_kept(segment):
    assert np.abs(decode(with_segments(segment)).astype(int) - PIXELS).mean() < JPEG
    assert (decode(with_segments(segment)) == decode(with_segments())).all()


def test_a_jpeg_with_much_metadata_is_kept():
    segments = [(0xFE, LONG[:65_000])] * 40 + [(0xE5, LONG[:65_000])] * 40
    assert (decode(with_segments(*segments)) == decode(with_segments())).all()
    assert (decode(encoded(PIXELS, "JPEG", quality=95, icc_profile=LONG)) == decode(with_segments())).all()


def blocks(content):
    """Content of a GIF's extension."""
    parts = [content[start : start + 255] for start in range(0, len(content), 255)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


@pytest.mark.parametrize(
    "extension",
    [
        b"\x21\xfe" + blocks(LONG),
        b"\x21\xff" + blocks(b"NETSCAPE2.0"),
        b"\x21\xff" + blocks(b"XMP DataXMP" + LONG),
        b"\x21\xf9\0",
        b"\x21\xf9\x01\x01\0",
        b"\x21\x01\0",
    ],
)
def test_a_gif_with_odd_extensions_is_kept(extension):
    for make in (file("GIF", "P"), moving("GIF"), see_through_gif):
        data = make(PIXELS)
        end = 13 + 3 * (2 << (data[10] & 7))  # of the palette
        assert (decode(data[:end] + extension + data[end:]) == decode(data)).all()


def see_through_gif(pixels):
    image = Image.fromarray(pixels).quantize(200)
    image.paste(255, (0, 0, 32, 48))
    image.save(stream := io.BytesIO(), "GIF", transparency=255)
    assert (decode(stream.getvalue())[:, :32] == 255).all()
    return stream.getvalue()


def test_metadata_that_is_left_out_does_not_cost_the_orientation():
    too_long = TEXTS["compressed"][0]
    xmp = chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>')
    quarter = np.rot90(PIXELS, -1)
    assert (decode(with_chunks(BEFORE, too_long, data=turned("PNG")(PIXELS))) == quarter).all()
    assert (decode(with_chunks(BEFORE, too_long, xmp)) == quarter).all()
    data = turned("JPEG", quality=95)(PIXELS)
    cut = struct.unpack(">H", data[4:6])[0] + 4
    damaged = data[:cut] + struct.pack(">BBH", 255, 0xE2, 14) + b"ICC_PROFILE\0" + data[cut:]
    assert (decode(damaged) == decode(data)).all()


def test_nor_palette_transparency_or_animation():
    for make in (palette_see_through, moving("PNG")):
        data = make(PIXELS)
        assert (decode(with_chunks(BEFORE, TEXTS["compressed"][0], data=data)) == decode(data)).all()


@pytest.mark.parametrize("name", [b"tRNS", b"PLTE", b"eXIf"])
def test_damage_that_could_change_the_picture_is_refused(name):
    data = bytearray(encoded(PIXELS, "PNG", exif=b"MM\0*\0\0\0\x08\0\0\0\0\0\0")) if name == b"eXIf" else None
    data = data or bytearray(palette_see_through(PIXELS))
    for bit in range(8):
        for place in range(data.index(name), data.index(name) + 6):
            damaged = data.copy()
            damaged[place] ^= 1 << bit
            with pytest.raises(UserError, match="cannot be decoded"):
                decode(bytes(damaged))


def test_flipped_bits_never_change_a_picture_unnoticed():
    data = with_chunks(BEFORE, *(chunk(name, b"k\0value") for name in (b"tEXt", b"zTXt", b"pHYs")))
    chance = random.Random(1)
    for _ in range(400):
        damaged = bytearray(data)
        damaged[chance.choice([chance.randrange(len(data)), chance.randrange(120)])] ^= 1 << chance.randrange(8)
        try:
            pixels = decode(bytes(damaged))
        except UserError:
            continue
        assert (pixels == PIXELS).all()


BOMBS = """
import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2**30,) * 2)
from darkroom.images.decode import decode
for name in sys.argv[1:]:
    print(decode(open(name, "rb").read(), max_pixels=1e8).shape)
"""


def test_a_bomb_of_compressed_text_takes_no_memory(tmp_path):
    packer = zlib.compressobj(9)
    start = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)  # may be repeated
    bomb = start + block * 128 + packer.flush()  # 2 GB
    bombs = [
        chunk(b"zTXt", b"k\0\0" + bomb),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb),
        chunk(b"iCCP", b"a\0\0" + bomb),
    ]
    for number, content in enumerate(bombs):
        (tmp_path / f"{number}.png").write_bytes(with_chunks(BEFORE, content))
    done = subprocess.run(
        [sys.executable, "-c", BOMBS, *(f"{number}.png" for number in range(len(bombs)))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["(48, 64, 3)"] * len(bombs)
