import io
import random

import numpy as np
import pytest
from PIL import Image, ImageOps

from darkroom.core.errors import UserError
from darkroom.images.decode import decode
from tests.helpers.odd_files import encoded, photo, turned
from tests.helpers.pictures import check_picture_or_reason

RED = np.zeros((4, 6, 3), np.uint8) + np.array([200, 30, 30], np.uint8)


@pytest.mark.parametrize(
    ("mode", "ending", "expected"),
    [
        ("RGB", "png", (200, 30, 30)),
        ("RGB", "bmp", (200, 30, 30)),
        ("RGB", "tiff", (200, 30, 30)),
        ("RGB", "webp", (200, 30, 30)),
        ("RGB", "jpg", (200, 30, 30)),
        ("P", "gif", (200, 30, 30)),
        ("L", "png", (81, 81, 81)),
        ("1", "png", None),
        ("CMYK", "jpg", (200, 30, 30)),
    ],
)
def test_formats_and_modes_become_rgb(mode, ending, expected, tmp_path):
    image = Image.fromarray(RED).convert(mode, palette=Image.Palette.ADAPTIVE)
    image.save(tmp_path / f"x.{ending}", **({"lossless": True} if ending == "webp" else {}))
    pixels = decode(tmp_path / f"x.{ending}")
    assert (pixels.shape, pixels.dtype) == ((4, 6, 3), np.uint8)
    if expected:
        assert np.abs(pixels.astype(int) - expected).max() <= 4


def test_transparency_is_blended_with_white(tmp_path):
    Image.fromarray(np.dstack([RED, np.zeros((4, 6), np.uint8)])).save(tmp_path / "x.png")
    assert (decode(tmp_path / "x.png") == 255).all()


def test_bytes_and_files_are_the_same(pictures):
    assert (decode(pictures[0].read_bytes()) == decode(pictures[0])).all()


def test_bounds_are_kept_by_the_header(tmp_path):
    Image.new("1", (70_000, 1)).save(tmp_path / "x.png")
    assert decode(tmp_path / "x.png", max_side=70_000).shape == (1, 70_000, 3)
    with pytest.raises(UserError, match=r"70,000 x 1 pixels: the longer side may have 65,535"):
        decode(tmp_path / "x.png", max_side=65_535)


def test_a_file_that_is_not_a_picture_is_refused():
    with pytest.raises(UserError, match="not a picture"):
        decode(b"hello")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_all_orientations_are_applied_once(kind):
    for orientation in range(1, 9):
        upright = Image.open(io.BytesIO(turned("PNG", orientation)(photo(0))))
        assert (decode(turned(kind, orientation)(photo(0))) == np.asarray(ImageOps.exif_transpose(upright))).all()


def test_exif_orientation_of_a_jpeg_file_is_applied():
    assert decode(turned("JPEG", 6)(photo(0))).shape == (64, 48, 3)


def test_a_flipped_byte_in_a_png_never_changes_a_picture_unnoticed():
    data, pixels = encoded(photo(3), "PNG", compress_level=0), photo(3)
    for position in random.Random(1).sample(range(len(data)), 150):
        damaged = bytearray(data)
        damaged[position] ^= 1
        try:
            decoded = decode(bytes(damaged))
        except UserError:
            continue
        assert decoded.shape == pixels.shape
        assert (decoded == pixels).all(), position


@pytest.mark.filterwarnings("ignore::UserWarning")  # about damaged metadata
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "MPO"])
def test_any_damage_raises_a_user_error_or_gives_a_picture(kind):
    chance = random.Random(kind)
    data = turned(kind)(photo(5)) if kind in ("JPEG", "PNG", "WEBP", "TIFF") else encoded(photo(5), kind)
    for _ in range(150):
        damaged = bytearray(data[: chance.choice([len(data), chance.randrange(len(data))])])
        for _ in range(chance.randrange(1, 6)):  # headers are at the start, and a TIFF's directory at the end
            place = chance.choice([chance.randrange(len(data)), chance.randrange(200), -chance.randrange(1, 200)])
            if -len(damaged) <= place < len(damaged):
                damaged[place] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        check_picture_or_reason(bytes(damaged))


def test_16_bit_grey_is_scaled(tmp_path):
    """65535 is white, as 255 is: the values are divided by 257, not cut to their upper byte."""
    Image.fromarray(np.array([[0, 256, 257, 25_600, 65_535]], np.uint16)).save(tmp_path / "x.png")
    assert decode(tmp_path / "x.png")[0, :, 0].tolist() == [0, 0, 1, 99, 255]
