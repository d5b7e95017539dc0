"""Good, odd and bad files made from real photographs, each with its expected outcome."""

import hashlib
import importlib.util
import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin
from pillow_heif import register_heif_opener

from tests.helpers.wide_files import png, wide_png, wide_tiff

register_heif_opener()  # writes them, too
KEPT, WRONG_SUFFIX = "", "wrong suffix"  # outcomes; any other is a part of the reason
UNKNOWN, BROKEN = "not a picture of a known format", "cannot be decoded"
# Scikit-learn contains two photographs; importing it would take seconds.
SAMPLES = Path(importlib.util.find_spec("sklearn").origin).parent / "datasets/images"
PHOTOS = [np.asarray(Image.open(SAMPLES / name)) for name in ("china.jpg", "flower.jpg")]


def photo(number):
    """A part of a real photograph, 48 x 64 pixels; another one for each number below 144."""
    row, column = divmod(number // 2 % 72, 12)
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


def with_white(pixels):
    """The photograph with one white pixel, so that its values need all bits."""
    return np.pad(pixels[1:], ((1, 0), (0, 0), (0, 0)), constant_values=255)


def colours_of_16_bits(pixels):
    return wide_png(pixels.astype(np.uint16) * 256 + 7)  # the upper eight bits are the photograph's


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


def turned_heic(pixels, orientation=6):
    """As a telephone writes it: turned by HEIF's own means, and EXIF says the same."""
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = orientation
    image.info["exif"] = exif.tobytes()
    stream = io.BytesIO()
    image.save(stream, "HEIF", quality=90)
    return stream.getvalue()


def damaged_exif(exif):
    return lambda pixels: encoded(pixels, "JPEG", exif=b"Exif\0\0" + exif)


def with_text(pixels):
    """Other bytes, the same pixels."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "a copy")
    return encoded(pixels, "PNG", pnginfo=info)


def long_text(pixels):
    """Three megabytes of text, compressed."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "what was done to it. " * 150_000, zip=True)
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
    ("good/jpeg.png", file("JPEG"), WRONG_SUFFIX),
    ("good/png.JPG", file("PNG"), WRONG_SUFFIX),
    ("good/webp.jpg", file("WEBP"), WRONG_SUFFIX),
    ("good/no_ending", file("PNG"), WRONG_SUFFIX),
    ("good/ending_of.txt", file("GIF", "P"), WRONG_SUFFIX),
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
    ("bad/cut_lzw.tif", cut("TIFF", 0.5, compression="tiff_lzw"), BROKEN),  # what says where the pixels are is gone
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
    ("good/b__c.png", file("PNG"), KEPT),
    ("bad/good.png", file("PNG"), KEPT),  # or the class would have none
    # of telephones, cameras and microscopes
    ("good/telephone.heic", file("HEIF", quality=90), KEPT),
    ("good/turned.heic", turned_heic, KEPT),
    ("good/camera.hif", file("HEIF", quality=90), KEPT),
    ("good/plain.avif", file("AVIF", quality=90), KEPT),
    ("good/turned.avif", turned("AVIF", quality=90), KEPT),
    ("good/plain.jp2", file("JPEG2000"), KEPT),
    ("good/plain.j2k", file("JPEG2000", no_jp2=True), KEPT),
    ("good/microscope.tif", lambda pixels: wide_tiff(with_white(pixels)[..., 0].astype(np.uint16) << 4), KEPT),
    ("good/microscope.png", lambda pixels: wide_png(with_white(pixels).astype(np.uint16) << 4), KEPT),
    ("good/long_text.png", long_text, KEPT),
    ("good/heic.jpg", file("HEIF"), WRONG_SUFFIX),
    ("good/avif.heic", file("AVIF"), WRONG_SUFFIX),
    ("bad/cut_half.heic", cut("HEIF", 0.5), BROKEN),
    ("bad/cut_end.heic", cut("HEIF", -2), BROKEN),
    ("bad/cut_half.avif", cut("AVIF", 0.5), BROKEN),
    ("bad/cut_end.avif", cut("AVIF", -2), BROKEN),
    ("bad/cut_half.jp2", cut("JPEG2000", 0.5), BROKEN),
    ("bad/cut_end.jp2", cut("JPEG2000", -2), BROKEN),
]
HIDDEN = ["good/.hidden.png", "good/.folder/x.png", ".class/x.png", "good/._plain.jpg", ".DS_Store", "bad/Thumbs.db"]

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
    ("bad/pipe.png", os.mkfifo, "not a regular file"),
    ("bad/socket.png", None, "not a regular file"),
    ("bad/null.png", "/dev/null", "not a regular file"),
    ("bad/unreadable.png", "/proc/self/mem", "cannot be read"),
    ("good/link.png", "../../elsewhere/x.png", KEPT),
]


def place(name):
    """Where the stage puts a file of the folder."""
    label, *deeper = name.split("/")
    if name in ("good/b/c.png", "good/b__c.png"):  # they would have one name
        return f"train/good/b__c__{hashlib.sha256(name.encode()).hexdigest()[:8]}.png"
    return f"train/{label}/{'__'.join(deeper)}" if deeper else name


OUTCOMES = {name: outcome for name, _, outcome in FILES + COPIES + TWO_LABELS + SPECIAL if outcome is not None}
