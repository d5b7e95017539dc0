"""One folder of good, odd and bad files, made from real photographs; every file has the outcome that it must have."""

import io
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from itertools import count

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin
from sklearn.datasets import load_sample_image

from stages import download
from stages.common import sources
from stages.common.errors import StageError
from stages.common.files import write_json
from stages.common.pictures import decode, named_wrongly
from stages.common.sources import Found
from tests.conftest import ROOT, save

KEPT, WRONGLY = "", "named wrongly"  # outcomes; every other one is a piece of the reason
UNKNOWN, BROKEN = "not a picture of a known format", "cannot be decoded"
PHOTOS = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]  # come with scikit-learn


def photo(number):
    """A part of a real photograph, 48 x 64 pixels; another one for each number below 120."""
    row, column = divmod(number // 2 % 60, 12)
    return PHOTOS[number % 2][150 + 45 * row :, 48 * column :][:48, :64]


def encoded(pixels, kind, mode="RGB", **options):
    """The bytes of a picture file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def file(kind, mode="RGB", **options):
    return lambda pixels: encoded(pixels, kind, mode, **options)


def cut(kind, share, **options):
    """The first part of a picture file; `share` from 0 to 1, or how many bytes are missing if negative."""

    def make(pixels):
        data = encoded(pixels, kind, **options)
        return data[: share if share < 0 else int(share * len(data))]

    return make


def flipped(kind, share, **options):
    """A picture file one byte of which has changed."""

    def make(pixels):
        data = bytearray(encoded(pixels, kind, **options))
        data[int(share * len(data))] ^= 0x10
        return bytes(data)

    return make


def fixed(data):
    return lambda pixels: data


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, depth, colours, rows):
    """A PNG made by hand: what Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def colours_of_16_bits(pixels):
    wide = (pixels.astype(np.uint16) * 256 + 7).astype(">u2")  # the upper eight bits are the photograph's
    rows = b"".join(b"\0" + row.tobytes() for row in wide)
    return png(pixels.shape[1], pixels.shape[0], 16, 2, rows)


def of_16_bits(kind):
    def make(pixels):
        stream = io.BytesIO()
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(stream, kind)
        return stream.getvalue()

    return make


def floats(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0].astype(np.float32) / 255).save(stream, "TIFF")
    return stream.getvalue()


def see_through(mode):
    """The left half is transparent."""

    def make(pixels):
        image = Image.fromarray(pixels).convert(mode[:-1])
        alpha = np.full(pixels.shape[:2], 255, np.uint8)
        alpha[:, :32] = 0
        image.putalpha(Image.fromarray(alpha))
        stream = io.BytesIO()
        image.save(stream, "PNG")
        return stream.getvalue()

    return make


def palette_see_through(pixels):
    """One colour of the palette is transparent: that of the left half."""
    image = Image.fromarray(pixels).quantize(200)
    palette = image.getpalette()
    image.paste(255, (0, 0, 32, 48))
    image.putpalette(palette + [0] * (768 - len(palette)))
    stream = io.BytesIO()
    image.save(stream, "PNG", transparency=255)
    return stream.getvalue()


def moving(kind, **options):
    """The photograph, then its negative."""

    def make(pixels):
        stream = io.BytesIO()
        first, second = Image.fromarray(pixels), Image.fromarray(255 - pixels)
        if kind == "GIF":
            first, second = first.quantize(256), second.quantize(256)
        first.save(stream, kind, save_all=True, append_images=[second], **options)
        return stream.getvalue()

    return make


def turned(kind, orientation=6, **options):
    """EXIF says that the picture lies on its side."""

    def make(pixels):
        exif = Image.Exif()
        exif[0x0112] = orientation
        return encoded(pixels, kind, exif=exif, **options)

    return make


def damaged_exif(exif):
    return lambda pixels: encoded(pixels, "JPEG", exif=b"Exif\0\0" + exif)


def with_text(pixels):
    """Other bytes, the same pixels."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "a copy")
    return encoded(pixels, "PNG", pnginfo=info)


def crowded_gif(pixels):
    """The screen is small, but the first frame claims 60,000 x 60,000 pixels."""
    data = bytearray(encoded(pixels, "GIF", "P"))
    start = data.index(b"\x2c\0\0\0\0")
    data[start + 5 : start + 9] = struct.pack("<HH", 60000, 60000)
    return bytes(data)


def zipped(pixels):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x.png", encoded(pixels, "PNG"))
    return stream.getvalue()


def numpy_file(pixels):
    stream = io.BytesIO()
    np.save(stream, pixels)
    return stream.getvalue()


HTML = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>Not Found</body></html>\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48"><rect width="64" height="48"/></svg>'
PDF = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer << /Root 1 0 R >>\n%%EOF\n"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\n(x) show\nshowpage\n%%EOF\n"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"

# Name in the folder, what is in it, what must become of it. Each has another photograph, but those in COPIES.
FILES = [
    # good ones, however odd
    ("good/plain.png", file("PNG"), KEPT),
    ("good/plain.jpg", file("JPEG"), KEPT),
    ("good/plain.jpeg", file("JPEG"), KEPT),
    ("good/plain.jfif", file("JPEG"), KEPT),
    ("good/plain.bmp", file("BMP"), KEPT),
    ("good/plain.gif", file("GIF", "P"), KEPT),
    ("good/plain.webp", file("WEBP"), KEPT),
    ("good/plain.tif", file("TIFF"), KEPT),
    ("good/plain.tiff", file("TIFF", compression="tiff_lzw"), KEPT),
    ("good/plain.ppm", file("PPM"), KEPT),
    ("good/plain.pgm", file("PPM", "L"), KEPT),
    ("good/upper.JPG", file("JPEG"), KEPT),
    ("good/upper.PNG", file("PNG"), KEPT),
    ("good/progressive.jpg", file("JPEG", progressive=True), KEPT),
    ("good/interlaced.webp", file("WEBP", lossless=True), KEPT),
    ("good/telephone.jpg", moving("MPO"), KEPT),
    ("good/grey.jpg", file("JPEG", "L"), KEPT),
    ("good/cmyk.jpg", file("JPEG", "CMYK", quality=95), KEPT),
    ("good/palette.png", file("PNG", "P"), KEPT),
    ("good/palette_see_through.png", palette_see_through, KEPT),
    ("good/la.png", see_through("LA"), KEPT),
    ("good/rgba.png", see_through("RGBA"), KEPT),
    ("good/one_bit.png", file("PNG", "1"), KEPT),
    ("good/one_bit.tif", file("TIFF", "1"), KEPT),
    ("good/fax.tif", file("TIFF", "1", compression="group4"), KEPT),
    ("good/grey16.png", of_16_bits("PNG"), KEPT),
    ("good/grey16.tif", of_16_bits("TIFF"), KEPT),
    ("good/colours16.png", colours_of_16_bits, KEPT),
    ("good/moving.gif", moving("GIF"), KEPT),
    ("good/moving.webp", moving("WEBP", lossless=True), KEPT),
    ("good/moving.png", moving("PNG"), KEPT),
    ("good/pages.tif", moving("TIFF"), KEPT),
    ("good/turned.jpg", turned("JPEG", quality=95), KEPT),
    ("good/turned.png", turned("PNG"), KEPT),
    ("good/turned.tif", turned("TIFF"), KEPT),
    ("good/turned.webp", turned("WEBP", lossless=True), KEPT),
    ("good/turned_nowhere.jpg", turned("JPEG", orientation=99, quality=95), KEPT),
    ("good/exif_garbage.jpg", damaged_exif(b"\xde\xad\xbe\xef" * 8), KEPT),
    ("good/exif_cut.jpg", damaged_exif(b"II*\0\x08\0\0\0\x40\0\x12\x01\x03\0"), KEPT),
    ("good/exif_empty.jpg", damaged_exif(b""), KEPT),
    ("good/exif_lost.jpg", damaged_exif(b"II*\0\xff\xff\xff\x7f"), KEPT),
    ("good/lab.tif", file("TIFF", "LAB"), KEPT),
    ("good/cut_behind_the_pixels.png", cut("PNG", -16), KEPT),
    ("good/behind_the_end.jpg", lambda pixels: encoded(pixels, "JPEG") + b"\0" * 500, KEPT),
    ("good/ with spaces  .png", file("PNG"), KEPT),
    ("good/Übergröße 図書館 🦊.png", file("PNG"), KEPT),
    ("good/e\u0301.png", file("PNG"), KEPT),  # the same letter as the next, otherwise composed
    ("good/\u00e9.png", file("PNG"), KEPT),
    ("good/two\nlines.png", file("PNG"), KEPT),
    ("good/-rf; $(touch x) '\".png", file("PNG"), KEPT),
    ("good/back\\slash.png", file("PNG"), KEPT),
    ("good/" + "long" * 62 + ".png", file("PNG"), KEPT),  # 252 characters
    ("good/deep/er/still.png", file("PNG"), KEPT),
    ("good/folder.png/in_it.png", file("PNG"), KEPT),
    ("class with a space/x.png", file("PNG"), KEPT),
    # good ones with a wrong name
    ("good/jpeg.png", file("JPEG"), WRONGLY),
    ("good/png.JPG", file("PNG"), WRONGLY),
    ("good/webp.jpg", file("WEBP"), WRONGLY),
    ("good/no_ending", file("PNG"), WRONGLY),
    ("good/ending_of.txt", file("GIF", "P"), WRONGLY),
    # cut off
    ("bad/cut_header.jpg", cut("JPEG", 0.02), BROKEN),
    ("bad/cut_tables.jpg", cut("JPEG", 0.2), BROKEN),
    ("bad/cut_half.jpg", cut("JPEG", 0.5), BROKEN),
    ("bad/cut_end.jpg", cut("JPEG", -2), BROKEN),
    ("bad/cut_progressive.jpg", cut("JPEG", 0.6, progressive=True), BROKEN),
    ("bad/cut_signature.png", cut("PNG", 0.001), UNKNOWN),
    ("bad/cut_half.png", cut("PNG", 0.5), BROKEN),
    ("bad/cut_end.png", cut("PNG", -30), BROKEN),
    ("bad/cut_half.gif", cut("GIF", 0.5, mode="P"), BROKEN),
    ("bad/cut_half.webp", cut("WEBP", 0.5), BROKEN),
    ("bad/cut_end.webp", cut("WEBP", -2), BROKEN),
    ("bad/cut_half.tif", cut("TIFF", 0.5), BROKEN),
    ("bad/cut_lzw.tif", cut("TIFF", 0.5, compression="tiff_lzw"), UNKNOWN),  # what says where the pixels are is gone
    ("bad/cut_half.bmp", cut("BMP", 0.5), BROKEN),
    ("bad/cut_end.bmp", cut("BMP", -2), BROKEN),
    ("bad/cut_half.ppm", cut("PPM", 0.5), BROKEN),
    # damaged
    ("bad/flipped_start.png", flipped("PNG", 0.02), BROKEN),
    ("bad/flipped_half.png", flipped("PNG", 0.5), BROKEN),
    ("bad/flipped_end.png", flipped("PNG", 0.97), BROKEN),
    ("bad/flipped_uncompressed.png", flipped("PNG", 0.5, compress_level=0), BROKEN),  # only its sums can tell
    ("bad/zeros.jpg", fixed(bytes(5000)), UNKNOWN),
    ("bad/hole.png", lambda pixels: encoded(pixels, "PNG")[:100] + bytes(3000), BROKEN),
    # no pictures, or none of a known format
    ("bad/empty.png", fixed(b""), "empty file"),
    ("bad/one_byte.jpg", fixed(b"\xff"), UNKNOWN),
    ("bad/text.jpg", fixed(b"hello\n"), UNKNOWN),
    ("bad/error_page.jpg", fixed(HTML), UNKNOWN),
    ("bad/git_lfs.jpg", fixed(LFS), UNKNOWN),
    ("bad/drawing.svg", fixed(SVG), UNKNOWN),
    ("bad/paper.pdf", fixed(PDF), UNKNOWN),
    ("bad/postscript.eps", fixed(EPS), UNKNOWN),
    ("bad/postscript.jpg", fixed(EPS), UNKNOWN),
    ("bad/icon.ico", file("ICO"), UNKNOWN),
    ("bad/icon.png", file("ICO"), UNKNOWN),
    ("bad/targa.tga", file("TGA"), UNKNOWN),
    ("bad/pcx.pcx", file("PCX"), UNKNOWN),
    ("bad/paper.jpg", file("PDF"), UNKNOWN),
    ("bad/archive.png", zipped, UNKNOWN),
    ("bad/array.npy", numpy_file, UNKNOWN),
    ("bad/Thumbs.db", fixed(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)), UNKNOWN),
    # out of bounds, or pixels that have no meaning
    ("bad/small.png", lambda pixels: encoded(pixels[:5, :5], "PNG"), "5 x 5 pixels"),
    ("bad/nine.png", lambda pixels: encoded(pixels[:9, :], "PNG"), "64 x 9 pixels: the shorter side must have 10"),
    ("bad/line.png", lambda pixels: encoded(pixels[:1].repeat(40, axis=1), "PNG"), "2560 x 1 pixels"),
    ("bad/bomb.png", fixed(png(60000, 60000, 8, 2, bytes(1000))), "60,000 x 60,000 pixels are more than the largest"),
    ("bad/bomb.ppm", fixed(b"P6 60000 60000 255\n" + bytes(1000)), "more than the largest"),
    ("bad/bomb.gif", crowded_gif, "more than the largest"),
    ("bad/floats.tif", floats, "floating-point numbers: save it with 8 or 16 bits"),
    # in the way
    ("stray.png", file("PNG"), "in no class folder"),
    ("readme.txt", fixed(b"hello\n"), "in no class folder"),
    ("good/b/c.png", file("PNG"), KEPT),
    ("good/b__c.png", file("PNG"), "another file has this name"),
    ("bad/good.png", file("PNG"), KEPT),  # or the class would have none
]
HIDDEN = ["good/.hidden.png", "good/.folder/x.png", ".class/x.png", "good/._plain.jpg", ".DS_Store"]

# The first has the photograph; the others have its pixels too.
COPIES = [
    ("copies/1.png", file("PNG"), KEPT),
    ("copies/2.png", file("PNG"), "the same picture as train/copies/1.png"),
    ("copies/3.bmp", file("BMP"), "the same picture as train/copies/1.png"),
    ("copies/4.png", with_text, "the same picture as train/copies/1.png"),
    ("copies/deep/5.webp", file("WEBP", lossless=True), "the same picture as train/copies/1.png"),
]
TWO_LABELS = [
    ("copies/cat.png", file("PNG"), "the same picture as train/good/dog.bmp: which label is right?"),
    ("good/dog.bmp", file("BMP"), "the same picture as train/copies/cat.png: which label is right?"),
]
# No files that can be read: where the link leads to, or what makes it.
SPECIAL = [
    ("bad/dangling.png", "nowhere.png", "a link to nothing"),
    ("bad/pipe.png", os.mkfifo, "no ordinary file"),
    ("bad/socket.png", None, "no ordinary file"),
    ("bad/null.png", "/dev/null", "no ordinary file"),
    ("bad/loop", ".", "no ordinary file"),
    ("bad/up", "../..", "no ordinary file"),
    ("bad/unreadable.png", "/proc/self/mem", "cannot be read"),
    ("good/link.png", "../../elsewhere/x.png", KEPT),
    ("good/linked", "../../elsewhere/folder", None),
    ("good/linked/x.png", None, KEPT),  # comes through the link
]


def place(name):
    """Where the stage puts a file of the folder."""
    label, *deeper = name.split("/")
    return f"train/{label}/{'__'.join(deeper)}" if deeper else name


OUTCOMES = {name: outcome for name, _, outcome in FILES + COPIES + TWO_LABELS + SPECIAL if outcome is not None}


def params(**changes):
    values = {"source": "folder", "name": "x", "path": "x", "limit_per_class": None, "on_bad": "drop"}
    return download.Params(**values | changes)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The folder with all files, and the photograph in each by its name."""
    folder = tmp_path_factory.mktemp("corpus") / "in"
    numbers = count()
    photos = {name: photo(next(numbers)) for name, _, _ in FILES}
    for row in (COPIES, TWO_LABELS):
        same = photo(next(numbers))
        photos |= {name: same for name, _, _ in row}
    for name, make, _ in FILES + COPIES + TWO_LABELS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(make(photos[name]))
    for name in HIDDEN:
        save(folder.parent / "x.png", photos["good/plain.png"])
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder.parent / "x.png", folder / name)
    save(folder.parent / "elsewhere/x.png", photo(next(numbers)))
    save(folder.parent / "elsewhere/folder/x.png", photo(next(numbers)))
    for name, what, _ in SPECIAL:
        if isinstance(what, str):
            (folder / name).symlink_to(what)
        elif what:
            what(folder / name)
    here = os.open(".", os.O_RDONLY)  # a socket's path may have 108 characters only
    os.chdir(folder / "bad")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket.png")
    os.fchdir(here)
    os.close(here)
    return folder, photos


@pytest.fixture(scope="module")
def result(corpus, tmp_path_factory):
    """`(report, folder)` of one run over all of it, with a program `gs` on the PATH that leaves a trace."""
    base = tmp_path_factory.mktemp("result")
    (base / "gs").write_text(f"#!/bin/sh\ntouch {base}/started\n")
    (base / "gs").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{base}{os.pathsep}{os.environ['PATH']}")
        report = download.keep(sources.from_folder(corpus[0]), base / "out", params(), seed=1)
    assert not (base / "started").exists()
    return report, base / "out"


@pytest.fixture
def in_process(monkeypatch):
    """Without processes, which take seconds to start."""
    monkeypatch.setattr(download, "on_all_cores", map)


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_file_is_kept_or_dropped_with_its_reason(name, corpus, result):
    report, out = result
    reasons = [item["reason"] for item in report["dropped"] if item["path"].partition(" (another")[0] == place(name)]
    if OUTCOMES[name] in (KEPT, WRONGLY):
        assert (out / place(name)).read_bytes() == (corpus[0] / name).read_bytes()
        assert (place(name) in report["named_wrongly"]) == (OUTCOMES[name] == WRONGLY)
    else:
        assert len(reasons) == 1
        assert OUTCOMES[name] in reasons[0]
        assert reasons[0].isprintable()


def test_every_file_is_accounted_for(result):
    report, out = result
    kept = {place(name) for name, outcome in OUTCOMES.items() if outcome in (KEPT, WRONGLY)}
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == kept
    assert report["kept"] == len(kept) == sum(report["classes"].values())
    assert report["found"] == len(OUTCOMES) == report["kept"] + len(report["dropped"])
    assert report["in_other_classes"] == report["beyond_limit_per_class"] == 0
    assert set(report["classes"]) == {"good", "bad", "copies", "class with a space"}


def grey(pixels):
    return np.repeat(np.asarray(Image.fromarray(pixels).convert("L"))[..., None], 3, axis=-1)


def left_white(pixels):
    return np.hstack([np.full_like(pixels[:, :32], 255), pixels[:, 32:]])


def quarter(pixels):
    return np.rot90(pixels, -1)


def same(pixels):
    return pixels


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [
        ("plain.png", same, 0),
        ("plain.bmp", same, 0),
        ("plain.tif", same, 0),
        ("plain.tiff", same, 0),
        ("plain.ppm", same, 0),
        ("interlaced.webp", same, 0),
        ("plain.pgm", grey, 0),
        ("plain.jpg", same, 12),
        ("progressive.jpg", same, 12),
        ("telephone.jpg", same, 12),
        ("cmyk.jpg", same, 12),
        ("lab.tif", same, 4),
        ("cut_behind_the_pixels.png", same, 0),
        ("moving.gif", same, 12),
        ("moving.webp", same, 0),
        ("moving.png", same, 0),
        ("pages.tif", same, 0),
        ("palette_see_through.png", left_white, 12),
        ("la.png", lambda pixels: left_white(grey(pixels)), 0),
        ("rgba.png", left_white, 0),
        ("grey16.png", lambda pixels: pixels[..., :1].repeat(3, axis=-1), 0),
        ("grey16.tif", lambda pixels: pixels[..., :1].repeat(3, axis=-1), 0),
        ("colours16.png", same, 0),
        ("turned.jpg", quarter, 12),
        ("turned.png", quarter, 0),
        ("turned.tif", quarter, 0),
        ("turned.webp", quarter, 0),
        ("turned_nowhere.jpg", same, 12),
        ("one_bit.png", lambda pixels: np.asarray(Image.fromarray(pixels).convert("1").convert("RGB")), 0),
        ("one_bit.tif", lambda pixels: np.asarray(Image.fromarray(pixels).convert("1").convert("RGB")), 0),
        ("fax.tif", lambda pixels: np.asarray(Image.fromarray(pixels).convert("1").convert("RGB")), 0),
    ],
)
def test_odd_pictures_have_the_pixels_they_should(name, expected, tolerance, corpus, result):
    wanted = expected(corpus[1][f"good/{name}"])
    pixels = decode(result[1] / "train/good" / name)
    assert (pixels.shape, pixels.dtype) == (wanted.shape, np.uint8)
    assert np.abs(pixels.astype(int) - wanted).mean() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_all_orientations_are_applied_once(orientation, kind):
    pixels = photo(0)
    upright = Image.open(io.BytesIO(turned("PNG", orientation)(pixels)))
    assert (decode(turned(kind, orientation)(pixels)) == np.asarray(ImageOps.exif_transpose(upright))).all()


def test_a_flipped_byte_in_a_png_never_changes_a_picture_unseen():
    data, pixels = encoded(photo(3), "PNG", compress_level=0), photo(3)
    for place in random.Random(1).sample(range(len(data)), 150):
        damaged = bytearray(data)
        damaged[place] ^= 1
        try:
            found = decode(bytes(damaged))
        except StageError:
            continue
        assert found.shape == pixels.shape
        assert (found == pixels).all(), place


@pytest.mark.filterwarnings("ignore::UserWarning")  # of damaged side information
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "MPO"])
def test_whatever_is_wrong_with_a_file_decode_says_it_with_a_stage_error(kind):
    chance = random.Random(kind)
    data = turned(kind)(photo(5)) if kind in ("JPEG", "PNG", "WEBP", "TIFF") else encoded(photo(5), kind)
    for _ in range(150):
        damaged = bytearray(data[: chance.choice([len(data), chance.randrange(len(data))])])
        for _ in range(chance.randrange(1, 6)):  # headers lie at the start, and what a TIFF's says at the end
            place = chance.choice([chance.randrange(len(data)), chance.randrange(200), -chance.randrange(1, 200)])
            if -len(damaged) <= place < len(damaged):
                damaged[place] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        try:
            pixels = decode(bytes(damaged), max_pixels=1e6)
        except StageError as reason:
            assert str(reason).isprintable()
        else:
            assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)
            named_wrongly("x.png", bytes(damaged))


def test_on_bad_fail_names_the_file(in_process, tmp_path):
    for number in range(3):
        save(tmp_path / f"in/cat/{number}.png", photo(number))
    (tmp_path / "in/cat/torn.jpg").write_bytes(cut("JPEG", 0.5)(photo(5)))
    with pytest.raises(StageError, match=r"train/cat/torn.jpg: cannot be decoded .*on_bad is fail"):
        download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "out", params(on_bad="fail"), seed=1)


def test_on_bad_fail_takes_two_labels_for_bad_but_not_copies(in_process, tmp_path):
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        save(tmp_path / "in" / name, photo(len(name) if name != "dog/1.png" else 1))
    save(tmp_path / "in/dog/2.png", photo(2))
    report = download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "out", params(on_bad="fail"), seed=1)
    assert (report["kept"], len(report["dropped"])) == (3, 1)
    save(tmp_path / "in/dog/3.png", photo(9))  # that of the cats
    with pytest.raises(StageError, match="which label is right"):
        download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "again", params(on_bad="fail"), seed=1)


def everything(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_order_in_which_files_are_listed_does_not_matter(in_process, corpus, result, tmp_path):
    found = list(sources.from_folder(corpus[0]))
    for number in range(3):
        random.Random(number).shuffle(found)
        again = download.keep(found, tmp_path / str(number), params(), seed=1)
        assert again == result[0]
        files, wanted = everything(tmp_path / str(number)), everything(result[1])
        for folder in (files, wanted):
            folder.pop("train/good/b__c.png")  # two files have this name
        assert files == wanted


def test_the_order_does_not_matter_where_a_picture_is_in_many_classes(in_process, tmp_path):
    for label in "abcd":
        save(tmp_path / f"in/{label}/same.png", photo(1))
        save(tmp_path / f"in/{label}/own.png", photo(ord(label)))
    found = list(sources.from_folder(tmp_path / "in"))
    reports = []
    for number in range(4):
        random.Random(number).shuffle(found)
        reports.append(download.keep(found, tmp_path / str(number), params(), seed=1))
    assert len(reports[0]["dropped"]) == 4
    assert all(report == reports[0] for report in reports)


def test_the_limit_picks_the_same_pictures_in_any_order(in_process, tmp_path):
    pixels = [Found("train", f"class{number % 3}", f"{number}.png", photo(number)) for number in range(60)]
    kept = []
    for number in range(3):
        random.Random(number).shuffle(pixels)
        report = download.keep(pixels, tmp_path / str(number), params(limit_per_class=5), seed=7)
        assert report["classes"] == {"class0": 5, "class1": 5, "class2": 5}
        assert (report["found"], report["beyond_limit_per_class"]) == (15, 45)
        kept.append(everything(tmp_path / str(number)))
    assert kept[0] == kept[1] == kept[2]
    download.keep(pixels, tmp_path / "other", params(limit_per_class=5), seed=8)
    assert set(everything(tmp_path / "other")) != set(kept[0])


def test_many_files_that_would_have_one_name_are_all_accounted_for(in_process, tmp_path):
    for number, name in enumerate(["b/c/d.png", "b/c__d.png", "b__c/d.png", "b__c__d.png", "b__c__d.png (another)"]):
        (tmp_path / "in/a" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in/a" / name).write_bytes(encoded(photo(number), "PNG"))
    report = download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "out", params(), seed=1)
    assert report["found"] == 5 == report["kept"] + len(report["dropped"])
    assert all("another file has this name" in item["reason"] for item in report["dropped"])


def test_classes_that_become_one_keep_the_files_of_both(in_process, tmp_path):
    for number, name in enumerate(["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"]):
        save(tmp_path / "in" / name, photo(number))
    asked = params(classes={"cat": "animal", "dog": "animal"})
    report = download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "out", asked, seed=1)
    assert report["classes"] == {"animal": 4}


def test_a_name_that_becomes_too_long_drops_the_file(in_process, tmp_path):
    save(tmp_path / "in/cat/1.png", photo(1))
    save(tmp_path / f"in/cat/{'x' * 100}/{'y' * 100}/{'z' * 100}.png", photo(2))
    report = download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "out", params(), seed=1)
    assert (report["kept"], [item["reason"] for item in report["dropped"]]) == (1, ["its name is too long"])


def test_a_name_that_is_no_utf8_can_be_reported(in_process, tmp_path):
    save(tmp_path / "in/cat/1.png", photo(1))
    save(tmp_path / "in/cat/x.png", photo(2)).rename(tmp_path / "in/cat" / os.fsdecode(b"caf\xe9.png"))
    (tmp_path / "in/cat" / os.fsdecode(b"b\xe4d.png")).write_bytes(b"hello")
    save(tmp_path / "in/dog/1.png", photo(3))
    (tmp_path / "in/dog").rename(tmp_path / "in" / os.fsdecode(b"K\xf6ter"))
    report = download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "out", params(), seed=1)
    assert (report["found"], report["kept"], len(report["classes"])) == (4, 3, 2)
    write_json(tmp_path / "report.json", report)


def test_a_link_to_itself_is_a_link_to_nothing(in_process, tmp_path):
    save(tmp_path / "in/cat/1.png", photo(1))
    (tmp_path / "in/cat/self.png").symlink_to("self.png")
    report = download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "out", params(), seed=1)
    assert [item["reason"] for item in report["dropped"]] == ["a link to nothing"]


def test_folders_that_link_to_each_other_are_walked_once(tmp_path):
    for number, (one, other) in enumerate([("p", "q"), ("q", "p")]):
        save(tmp_path / f"in/cat/{one}/{one}.png", photo(number))
        (tmp_path / f"in/cat/{one}/to_{other}").symlink_to(f"../{other}")
    names = sorted(item.name for item in sources.from_folder(tmp_path / "in"))
    pictures = ["p__p.png", "p__to_q__q.png", "q__q.png", "q__to_p__p.png"]
    assert names == sorted([*pictures, "p__to_q__to_p", "q__to_p__to_q"])


@pytest.mark.parametrize("what", ["bomb", "huge file"])
def test_no_file_takes_more_memory_than_a_picture_may(what, tmp_path):
    path = tmp_path / "x.png"
    if what == "bomb":
        path.write_bytes(png(60000, 60000, 8, 2, bytes(1000)))  # 10.8 GB
    else:
        with path.open("wb") as stream:
            stream.truncate(8 * 2**30)  # takes no room on the disk
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30,) * 2)\n"
        "from pathlib import Path; from stages.common.validation import *\n"
        f"found = Found('train', 'cat', 'x.png', Path({str(path)!r}))\n"
        "print(check(Job(found, Path('out/x.png'), Bounds(10, 1e8), 1)).reason)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "more than the largest" in done.stdout if what == "bomb" else done.stdout.strip() != "None"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no class folders"),
        (lambda path: path.mkdir(), "no class folders"),
        (lambda path: (path / ".hidden").mkdir(parents=True), "no class folders"),
        (lambda path: save(path / "x.png", photo(1)), "no class folders"),
        (lambda path: (path / "cat").mkdir(parents=True), "no pictures|no good picture"),
        (lambda path: save(path / "cat/x.png", photo(1)[:5]), "class cat has no good picture.*64 x 5"),
        (lambda path: (save(path / "cat/x.png", photo(1)), (path / "dog").mkdir()), "class dog"),
    ],
    ids=["missing", "empty", "hidden", "no class", "empty class", "bad class", "one empty class"],
)
def test_a_folder_without_good_pictures_is_refused(make, said, in_process, tmp_path):
    make(tmp_path / "in")
    with pytest.raises(StageError, match=said):
        download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "out", params(), seed=1)
