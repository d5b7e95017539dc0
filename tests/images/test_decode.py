import numpy as np
import pytest
from PIL import Image

from darkroom.core.errors import UserError
from darkroom.images.decode import decode

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


def test_transparency_is_laid_on_white(tmp_path):
    Image.fromarray(np.dstack([RED, np.zeros((4, 6), np.uint8)])).save(tmp_path / "x.png")
    assert (decode(tmp_path / "x.png") == 255).all()


def test_sixteen_bits_are_scaled(tmp_path):
    Image.fromarray(np.full((4, 6), 257 * 100, np.uint16)).save(tmp_path / "x.png")
    assert (decode(tmp_path / "x.png") == 100).all()


def test_exif_orientation_is_applied(tmp_path):
    image = Image.fromarray(RED)
    exif = image.getexif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "x.jpg", exif=exif)
    assert decode(tmp_path / "x.jpg").shape == (6, 4, 3)


def test_bytes_and_files_are_the_same(pictures):
    assert (decode(pictures[0].read_bytes()) == decode(pictures[0])).all()


def test_bounds_are_kept_by_the_header(tmp_path):
    Image.new("1", (70_000, 1)).save(tmp_path / "x.png")
    assert decode(tmp_path / "x.png", max_side=70_000).shape == (1, 70_000, 3)
    with pytest.raises(UserError, match=r"70,000 x 1 pixels: the longer side may have 65,535"):
        decode(tmp_path / "x.png", max_side=65_535)


def test_what_is_no_picture_is_said():
    with pytest.raises(UserError, match="not a picture"):
        decode(b"hello")
