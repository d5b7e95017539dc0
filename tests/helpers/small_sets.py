"""Small sets of pictures in the layouts that people have, written from one line of text."""

import functools
import io
import re
import zipfile
from pathlib import Path

from PIL import Image

from tests.helpers.odd_files import PHOTOS


@functools.cache
def small_picture(number: int, kind: str = "PNG") -> bytes:
    """A part of a real photograph, 16 x 16 pixels; another one for each number below 2,000."""
    row, column = divmod(number // 2, 38)
    pixels = PHOTOS[number % 2][16 * row :, 16 * column :][:16, :16]
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def files_in(layout: str) -> dict[str, bytes]:
    """The files of a layout, by path: `cat 10` are ten pictures in that folder, `cat.*.jpg 10` ten files so called.

    Entries are separated by commas; `notes.txt 0` is a file that is no picture, and `empty/ 0` an empty folder.
    """
    files: dict[str, bytes] = {}
    for entry in re.split(r",\s*", layout):
        path, count = entry.strip().rsplit(" ", 1)
        pattern = path if "*" in path else f"{path}/*.png"
        if count == "0":
            files[path] = b"" if path.endswith("/") else b"some words\n"
        for number in range(int(count)):
            kind = "JPEG" if pattern.endswith(".jpg") else "PNG"
            files[pattern.replace("*", str(number + 1))] = small_picture(len(files), kind)
    return files


def write_layout(folder: Path, layout: str) -> Path:
    """The layout as a folder."""
    for name, data in files_in(layout).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            target.mkdir()
        else:
            target.write_bytes(data)
    return folder


def zip_layout(target: Path, layout: str) -> Path:
    """The layout as a zip archive."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files_in(layout).items():
            archive.writestr(name, data)
    return target
