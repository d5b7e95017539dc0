"""Values of 8 to 16 bits in files of 16: as bright as they are meant, and full-range ones as they always were."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from darkroom.images.decode import decode
from tests.helpers.odd_files import PHOTOS, photo
from tests.helpers.wide_files import bits, chunk, wide_png, wide_tiff

COLOURS, GREY = photo(0), photo(0)[..., 0]  # its largest value is 255
ORDERS = [(order, compressed) for order in "<>" for compressed in (False, True)]


def three(grey):
    return grey[..., None].repeat(3, axis=-1)


def opaque(values, count):
    return np.dstack([values, np.full(values.shape[:2], 2**count - 1, np.uint16)])


def ppm(values, largest=65535):
    height, width = values.shape[:2]
    letter = "5" if values.ndim == 2 else "6"
    return f"P{letter} {width} {height} {largest}\n".encode() + values.astype(">u2").tobytes()


@pytest.mark.parametrize("count", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["png", "ppm", *(f"tiff {order}{packed}" for order, packed in ORDERS)])
def test_the_largest_value_tells_the_bits(kind, count):
    def file(values):
        if kind == "png":
            return wide_png(values)
        if kind == "ppm":
            return ppm(values)
        return wide_tiff(values, kind[5], compressed=kind.endswith("True"))

    # Another photograph in the lower bits, or all would be 8-bit values times 257.
    noise = np.random.default_rng(1).integers(0, 256, COLOURS.shape, np.uint16)
    values = (COLOURS.astype(np.uint16) << 8 | noise) >> (16 - count)
    assert np.abs(decode(file(values[..., 0])).astype(int) - three(GREY)).max() <= 1
    assert np.abs(decode(file(values)).astype(int) - COLOURS).max() <= (1 if kind == "ppm" else 0)


@pytest.mark.parametrize("count", [10, 12, 14])
def test_transparent_pictures(count):
    for values, expected in ((bits(COLOURS, count), COLOURS), (bits(GREY, count), three(GREY))):
        transparent = opaque(values, count)
        transparent[:, :32, -1] = 0
        expected = np.hstack([np.full((48, 32, 3), 255), expected[:, 32:]])
        assert np.abs(decode(wide_png(transparent)).astype(int) - expected).max() <= 1
    transparent = opaque(bits(COLOURS, count), count)
    for order, compressed in ORDERS:
        assert np.abs(decode(wide_tiff(transparent, order, compressed)).astype(int) - COLOURS).max() <= 1


def test_what_is_opaque_tells_the_bits_of_a_dark_picture():
    dark = bits(COLOURS // 20, 12)
    assert np.abs(decode(wide_png(opaque(dark, 12))).astype(int) - COLOURS // 20).max() <= 1


def test_a_single_transparent_colour():
    values = bits(COLOURS, 12)
    key = values[20, 30]
    pixels = decode(wide_png(values, before=chunk(b"tRNS", struct.pack(">3H", *key))))
    assert (pixels[(values == key).all(axis=-1)] == 255).all()
    assert (pixels[(values != key).any(axis=-1)] == COLOURS[(values != key).any(axis=-1)]).all()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("count", [12, 16])
def test_a_tiff_that_holds_each_colour_apart(order, count):
    values = (COLOURS.astype(np.uint16) << 8 | COLOURS[::-1]) >> (16 - count)
    assert (decode(wide_tiff(values, order, apart=True)) == COLOURS).all()
    assert (decode(wide_tiff(opaque(values, count), order, apart=True)) == COLOURS).all()


def test_full_range_values_are_as_before():
    """Grey is divided by 257; of colours the upper bytes are taken."""
    wide = np.random.default_rng(1).integers(0, 65536, (40, 50, 4), np.uint16)
    for order, compressed in ORDERS:
        assert (decode(wide_tiff(wide[..., :3], order, compressed)) == wide[..., :3] >> 8).all()
        assert (decode(wide_tiff(wide[..., 0], order, compressed)) == three(wide[..., 0] // 257)).all()
    assert (decode(wide_png(wide[..., :3])) == wide[..., :3] >> 8).all()
    assert (decode(wide_png(wide[..., 0])) == three(wide[..., 0] // 257)).all()


def test_8_bit_values_scaled_to_16_stay_dark():
    """A dark picture of 8 bits is as dark when another program has saved it with 16."""
    dark = COLOURS // 8
    for factor in (256, 257):
        values = dark.astype(np.uint16) * factor
        for file in (wide_png, wide_tiff, ppm):
            assert np.abs(decode(file(values)).astype(int) - dark).max() <= 1, factor
            assert np.abs(decode(file(values[..., 0])).astype(int) - three(dark[..., 0])).max() <= 1, factor


def test_a_file_may_state_its_bits():
    dark = bits(COLOURS // 8, 12)  # would be taken for 10 bits
    expected = COLOURS // 8
    for values, wanted in ((dark, expected), (dark[..., 0], three(expected[..., 0]))):
        channels = 1 if values.ndim == 2 else 3
        stated = chunk(b"sBIT", bytes([12] * channels))
        assert np.abs(decode(wide_png(values, before=stated)).astype(int) - wanted).max() <= 1
        assert np.abs(decode(wide_tiff(values, tags=[(281, 4095)])).astype(int) - wanted).max() <= 1
        assert decode(wide_png(values)).max() > 2 * wanted.max()
        whole = chunk(b"sBIT", bytes([16] * channels))
        assert decode(wide_png(values, before=whole)).max() <= 2
    assert decode(ppm(dark[..., 0], 4095)).max() == pytest.approx(expected[..., 0].max(), abs=1)


def test_a_standard_png_with_significant_bits_is_scaled_already():
    """The values of 12 bits are moved up to 16, as the PNG standard wants it, even where they are dark."""
    for pixels in (COLOURS, COLOURS // 8):
        values = bits(pixels, 12) << 4
        assert (decode(wide_png(values, before=chunk(b"sBIT", b"\x0c\x0c\x0c"))) == pixels).all()


def packed(values):
    """Two values of 12 bits in three bytes."""
    first, second = values.reshape(-1, 2).T.astype(np.uint32)
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8).tobytes()


def test_a_tiff_of_12_bits():
    dark = bits(GREY // 8, 12)
    data = wide_tiff(dark, tags=[(258, 12)])
    data = data[:8] + packed(dark).ljust(2 * dark.size, b"\0") + data[8 + 2 * dark.size :]
    assert np.abs(decode(data).astype(int) - three(GREY // 8)).max() <= 1


@pytest.mark.parametrize("compressed", [False, True])
def test_a_tiff_whose_zero_is_white(compressed):
    for count in (12, 16):
        values = 2**count - 1 - bits(GREY, count)
        pixels = decode(wide_tiff(values, compressed=compressed, tags=[(262, 0)]))
        assert np.abs(pixels.astype(int) - three(GREY)).max() <= 1


def test_orientation_and_large_pictures():
    """The lower bytes are turned with the upper ones; what is decoded in several pieces fits together."""
    large = bits(np.tile(PHOTOS[0], (2, 1, 1)), 12)
    for order, compressed in ORDERS:
        pixels = decode(wide_tiff(large, order, compressed, tags=[(0x0112, 6)]))
        assert (pixels == np.rot90(large >> 4, -1)).all()


def test_black_stays_black():
    colours = np.zeros((20, 30, 3), np.uint16)
    for black in (colours[..., 0], colours, opaque(colours, 16)):
        assert not decode(wide_png(black)).any()
        assert not decode(wide_tiff(black)).any()


def test_32_bit_integers_are_taken_for_16():
    image = Image.fromarray(np.array([[-5, 0, 257, 65535, 10**6]], np.int32))
    image.save(stream := io.BytesIO(), "TIFF")
    assert decode(stream.getvalue())[0, :, 0].tolist() == [0, 0, 1, 255, 255]
