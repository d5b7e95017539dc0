"""The accepted formats of picture files: how they are recognised, named and opened."""

from typing import IO, TYPE_CHECKING, cast

from darkroom.images.costs import CountedReads

if TYPE_CHECKING:
    from PIL import ImageFile

# By Pillow's name, with the suffixes of their file names. Pillow does not try any other: some of its plugins start
# programs.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "HEIF": (".heic", ".heif", ".hif"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc"),
}
SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)

_STARTS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "BMP": (b"BM",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+"),  # in either byte order; + is BigTIFF
    "PPM": tuple(b"P%c" % letter for letter in b"123456fy0"),
    "JPEG2000": (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"),
}
_HEIF = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1".split())
_AVIF = frozenset(b"avif avis".split())
START = 256  # bytes that tell the format


def format_of(start: bytes) -> str | None:
    """Pillow's name of the format of a file that starts with these bytes; None if it is not an accepted one."""
    if start[4:8] == b"ftyp":  # a box of brands: the main one, a version, and those that the file is compatible with
        box = start[: int.from_bytes(start[:4], "big")]
        brands = {box[8:12], *(box[place : place + 4] for place in range(16, len(box), 4))}
        return "AVIF" if brands & _AVIF else "HEIF" if brands & _HEIF else None
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    return next((name for name, starts in _STARTS.items() if start.startswith(starts)), None)


def opened(stream: IO[bytes], name: str) -> "ImageFile.ImageFile":
    """Open a picture of the format `name`: its header is read, its pixels are not."""
    from PIL import Image

    if name not in Image.OPEN:
        _register(name)
    stream.seek(0)
    if name == "JPEG2000" and b"\xff\xd9" not in stream.read():  # its decoder takes missing tiles for black ones
        raise OSError("image file is truncated")
    stream.seek(0)
    open_file, _ = Image.OPEN[name]  # and not Image.open, which does not say what is wrong with the header
    return open_file(cast("IO[bytes]", CountedReads(stream)), "")


def _register(name: str) -> None:
    """Load what opens a format. HEIF has its own package: most pictures never need it."""
    from PIL import Image

    if name == "HEIF":
        from pillow_heif import register_heif_opener

        register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    else:
        Image.preinit()
        if name not in Image.OPEN:
            Image.init()
