"""HEIC, AVIF and JPEG 2000: turned once, every kind of pixels, refused by the header, loaded when needed."""

import io
import os
import random
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from darkroom.core.errors import UserError
from darkroom.images.decode import decode, has_wrong_suffix
from darkroom.images.formats import SUFFIXES
from tests.helpers.odd_files import PHOTOS, encoded, photo, see_through, turned, turned_heic
from tests.helpers.pictures import check_picture_or_reason
from tests.helpers.project import ROOT

MODERN = ("HEIF", "AVIF", "JPEG2000")


def difference(data, pixels):
    """How far a decoded picture is from the original, on average."""
    decoded = decode(data)
    assert (decoded.shape, decoded.dtype) == (pixels.shape, np.uint8)
    return np.abs(decoded.astype(int) - pixels).mean()


def grey(pixels):
    return np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))


def upright(orientation):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(turned("PNG", orientation)(photo(0))))))


@pytest.mark.parametrize("kind", MODERN)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_each_kind_of_pixels(kind, mode):
    expected = grey(photo(4)) if mode[0] == "L" else photo(4)
    assert difference(encoded(photo(4), kind, mode, quality=90), expected) < 6


@pytest.mark.parametrize("kind", MODERN)
def test_transparency_is_blended_with_white(kind):
    image = Image.open(io.BytesIO(see_through("RGBA")(photo(4))))
    image.save(stream := io.BytesIO(), kind, quality=90)
    pixels = decode(stream.getvalue())
    assert pixels[:, :28].min() > 245
    assert np.abs(pixels[:, 32:].astype(int) - photo(4)[:, 32:]).mean() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_once(orientation):
    expected = upright(orientation)
    assert difference(turned_heic(photo(0), orientation), expected) < 4
    assert difference(turned("AVIF", orientation, quality=95)(photo(0)), expected) < 4


def test_exif_alone_does_not_turn_a_heic_file():
    """The standard says so, and viewers do not."""
    assert difference(turned("HEIF", 6, quality=95)(photo(0)), photo(0)) < 4


@pytest.mark.parametrize("twelve", [False, True])
@pytest.mark.parametrize("mode", ["RGB;16", "I;16L"])
def test_heic_of_10_and_12_bits(twelve, mode, monkeypatch):
    monkeypatch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", twelve)
    pixels = photo(4) if mode == "RGB;16" else photo(4)[..., 0]
    image = pillow_heif.from_bytes(mode, (64, 48), (pixels.astype(np.uint16) * 257).tobytes())
    image.save(stream := io.BytesIO(), quality=-1, chroma=444)
    assert difference(stream.getvalue(), pixels if pixels.ndim == 3 else pixels[..., None].repeat(3, axis=-1)) < 1


def test_jpeg_2000_of_16_bits():
    Image.fromarray(photo(4)[..., 0].astype(np.uint16) * 257).save(stream := io.BytesIO(), "JPEG2000")
    assert difference(stream.getvalue(), photo(4)[..., :1].repeat(3, axis=-1)) == 0


@pytest.mark.parametrize("primary", [0, 1])
def test_a_heic_file_of_several_pictures_gives_the_main_one(primary):
    file = pillow_heif.from_pillow(Image.fromarray(photo(4)[:40]))
    file.add_from_pillow(Image.fromarray(photo(6)))
    file.save(stream := io.BytesIO(), quality=90, primary_index=primary)
    assert difference(stream.getvalue(), photo(6) if primary else photo(4)[:40]) < 4


def test_any_number_of_threads_gives_the_same_bytes(monkeypatch):
    """A HEIC file of tiles, as telephones write it, and an AVIF file."""
    Image.fromarray(PHOTOS[0]).save(heic := io.BytesIO(), "HEIF", tile_size=128)
    files = [heic.getvalue(), encoded(PHOTOS[0], "AVIF")]
    expected = [decode(data) for data in files]
    with ThreadPoolExecutor(4) as pool:
        for number, pixels in enumerate(pool.map(decode, files * 4)):
            assert (pixels == expected[number % 2]).all()
    monkeypatch.setattr(pillow_heif.options, "DECODE_THREADS", 1)
    monkeypatch.setattr("PIL.AvifImagePlugin.DEFAULT_MAX_THREADS", 1)
    assert all((decode(data) == pixels).all() for data, pixels in zip(files, expected, strict=True))


@pytest.mark.parametrize("kind", MODERN)
def test_every_cut_is_refused_with_a_reason(kind):
    options = {"tile_size": (32, 32)} if kind == "JPEG2000" else {}
    whole = encoded(photo(4), kind, **options)
    for length in (*range(12, 400), *range(400, len(whole), 17)):
        with pytest.raises(UserError, match="cannot be decoded"):
            decode(whole[:length])


@pytest.mark.parametrize("kind", MODERN)
def test_any_damage_raises_a_user_error_or_gives_a_picture(kind):
    chance = random.Random(kind)
    data = turned_heic(photo(5)) if kind == "HEIF" else encoded(photo(5), kind)
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            place = chance.choice([chance.randrange(len(data)), chance.randrange(min(len(data), 400))])
            damaged[place] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        check_picture_or_reason(bytes(damaged))


def claiming(kind, side):
    """A small file whose header claims so many pixels a side."""
    data, size = bytearray(encoded(photo(4), kind)), struct.pack(">II", side, side)
    start = data.index(b"ihdr") + 4 if kind == "JPEG2000" else data.index(b"ispe") + 8
    data[start : start + 8] = size
    return bytes(data)


HUGE = """
import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30,) * 2)
from darkroom.core.errors import UserError
from darkroom.images.decode import decode
assert "pillow_heif" not in sys.modules
for name in sys.argv[1:]:
    try:
        print(decode(open(name, "rb").read(), max_pixels=1e8).shape)
    except UserError as reason:
        print(reason)
assert "pillow_heif" in sys.modules
"""


def test_a_header_that_claims_too_much_is_refused_without_the_memory(tmp_path):
    names = [f"{side}.{kind}" for kind in MODERN for side in (60_000, 12_000)]
    for name in names:
        side, kind = name.split(".")
        (tmp_path / name).write_bytes(claiming(kind, int(side)))
    done = subprocess.run(
        [sys.executable, "-c", HUGE, *names],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        assert "pixels are more than the largest" in line or "cannot be decoded" in line
    assert "60,000 x 60,000 pixels are more than" in done.stdout
    assert len(done.stdout.splitlines()) == len(names)


@pytest.mark.parametrize("kind", MODERN)
def test_bounds(kind):
    data = encoded(photo(4), kind)
    for bounds in ({"min_side": 49}, {"max_side": 63}, {"max_pixels": 3071}):
        with pytest.raises(UserError, match="64 x 48 pixels"):
            decode(data, **bounds)
    assert decode(data, 48, 3072, 64).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("kind", "brand", "suffix"),
    [("HEIF", brand, ".heic") for brand in (b"mif1", b"mif2", b"msf1", b"heix", b"hevc")]
    + [("AVIF", brand, ".avif") for brand in (b"mif1", b"miaf")],
)
def test_the_brands_of_a_file_tell_its_format(kind, brand, suffix):
    data = bytearray(encoded(photo(4), kind, quality=90))
    data[8:12] = brand
    assert difference(bytes(data), photo(4)) < 6
    assert [has_wrong_suffix(f"x{name}", bytes(data)) for name in (suffix, ".heif", ".JPG")] == [
        False,
        kind == "AVIF",
        True,
    ]


@pytest.mark.parametrize("brands", [b"isom\0\0\0\0isomavc1", b"qt  \0\0\0\0qt  "])
def test_a_film_is_no_picture(brands):
    with pytest.raises(UserError, match=r"^not a picture of a known format$"):
        decode(struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(500))


@pytest.mark.parametrize("suffix", [".heic", ".heif", ".hif", ".avif", ".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc"])
def test_suffixes(suffix):
    kind = {"a": "AVIF", "h": "HEIF", "j": "JPEG2000"}[suffix[1]]
    assert suffix in SUFFIXES
    assert not has_wrong_suffix(f"x{suffix.upper()}", encoded(photo(4), kind))
