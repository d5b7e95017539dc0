"""Sources in which a picture is a row of numbers: CSV files, and the IDX files that MNIST comes in."""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from darkroom.core.errors import UserError
from darkroom.core.terminal import progress
from darkroom.download.sources import OFFICIAL, Found, safe, visible


def from_csv(path: Path, shape: tuple[int, ...], header: bool) -> Iterator[Found]:
    """One picture a row of a CSV file, or of each CSV file in a folder: the label, then pixel values from 0 to 255.

    Rows of files with `test` or `val` in their names are official parts where another file is there to train on.

    Args:
        path: the file or the folder.
        shape: of a picture: (height, width) for grey, (height, width, 3) for colour.
        header: whether the first line holds the columns' names.

    Raises:
        UserError: there is no such file, or no CSV file in the folder.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.csv")) if path.is_dir() else []
    if not files:
        raise UserError(f"download.path {path} is no CSV file and holds none.")
    labels: dict[str, str] = {}
    for file, part in zip(files, _parts(files), strict=True):
        stem = "__".join(file.relative_to(path).with_suffix("").parts) if path.is_dir() else file.stem
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            rows = sum(1 for _ in stream) - header
            stream.seek(0)
            lines = filter(None, _lines(stream, file))
            if header:
                next(lines, None)
            for number, line in enumerate(progress(lines, rows, f"reading {file.name}", unit="rows")):
                content = _pixels(line[1:], shape) if line[0].strip() else UserError("the row has no label")
                if number == 0 and not header and isinstance(content, UserError):
                    content = UserError(f"{content}; if this is a header, set download.csv.header to true")
                yield Found(part, _class(line[0], labels, file), f"{stem}-{number:06d}.png", content)


def _lines(stream: TextIO, file: Path) -> Iterator[list[str]]:
    """The rows of a CSV file.

    Raises:
        UserError: it is none.
    """
    if stream.read(2) == "\x1f\ufffd":
        raise UserError(f"{file} is compressed: unpack it, or put it into a tar or zip archive.")
    stream.seek(0)
    try:
        yield from csv.reader(stream)
    except csv.Error as error:
        raise UserError(f"{file} is no CSV file ({error}).") from None


def _class(label: str, known: dict[str, str], file: Path) -> str:
    """The folder's name for a label; `known` collects which label has which.

    Raises:
        UserError: two labels would have one.
    """
    name = safe(label)
    if known.setdefault(name, label.strip()) != label.strip():
        raise UserError(f"{file}: classes {known[name]!r} and {label!r} are one as folder names: {name}.")
    return name


def _parts(files: list[Path]) -> list[str]:
    """The parts that the files' names speak of; if none is to train on, all are."""
    names = {**OFFICIAL, "t10k": "test"}
    words = [re.split(r"[^a-z0-9]+", file.name.lower()) for file in files]
    parts = [next((part for word, part in names.items() if word in said), "train") for said in words]
    return parts if "train" in parts else ["train"] * len(files)


def _pixels(values: list[str], shape: tuple[int, ...]) -> np.ndarray | UserError:
    """Values of a row as uint8 of `shape`, or what is wrong with them."""
    if len(values) != np.prod(shape):
        return UserError(f"{len(values)} values where {' x '.join(map(str, shape))} are {np.prod(shape)}")
    try:
        numbers = np.array(values, np.float64)
    except ValueError as error:
        return UserError(f"a value is no number ({error})")
    if not ((numbers >= 0) & (numbers <= 255) & (numbers % 1 == 0)).all():
        return UserError("a value is not a whole number from 0 to 255")
    return numbers.astype(np.uint8).reshape(shape)


def from_idx(folder: Path) -> Iterator[Found]:
    """Pictures of the IDX files that MNIST comes in, gzipped or not: `*images*` with its `*labels*`; t10k is the test.

    Format: http://yann.lecun.com/exdb/mnist (two zero bytes, type, number of dimensions, dimensions as big-endian
    32-bit numbers, values).

    Raises:
        UserError: a file is missing, is no IDX file of bytes, or the two of a pair are not equally long.
    """
    images = sorted(path for path in visible(folder) if "images" in path.name) if folder.is_dir() else []
    if not images:
        raise UserError(f"download.path {folder} holds no IDX files such as train-images-idx3-ubyte.gz.")
    for path, part in zip(images, _parts(images), strict=True):
        pair = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1"))
        if not pair.is_file():
            raise UserError(f"{pair} is missing: it has the labels of {path.name}.")
        pixels, labels = _idx(path), _idx(pair)
        fits = labels.ndim == 1 and pixels.shape[:1] == labels.shape
        if not fits or not (pixels.ndim == 3 or pixels.shape[3:] == (3,)):
            raise UserError(f"{path.name} has {pixels.shape} values and {pair.name} {labels.shape}: they do not match.")
        stem = path.name.split("-images")[0]
        for number, label in enumerate(progress(labels, len(labels), f"reading {path.name}")):
            yield Found(part, str(label), f"{stem}-{number:06d}.png", pixels[number])


def _idx(path: Path) -> np.ndarray:
    """The array of an IDX file of unsigned bytes."""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        dimensions = np.frombuffer(data, ">i4", data[3], 4) if data[:3] == b"\0\0\x08" else None
        if dimensions is None:
            raise ValueError("it does not begin with 0, 0, 8")
        return np.frombuffer(data, np.uint8, offset=4 + dimensions.nbytes).reshape(dimensions)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise UserError(f"{path} is no whole IDX file of bytes ({error}).") from None
