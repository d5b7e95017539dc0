"""Source `csv`: rows of a label and pixel values."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from darkroom.core.errors import UserError
from darkroom.core.terminal import progress
from darkroom.download.local import local_path
from darkroom.download.params import Params
from darkroom.download.parts import parts_of_files
from darkroom.download.sources.base import Source, SourceFile, safe_name


def read(params: Params, scratch: Path) -> Source:
    """One picture a row of a CSV file, or of each CSV file in a folder: the label, then pixel values from 0 to 255.

    `download.csv.shape` is that of a picture, (height, width) for grey or (height, width, 3) for colour. Rows of files
    with `test` or `val` in their names are official parts if another file is left for training.

    Raises:
        UserError: there is no such file, or no CSV file in the folder.
    """
    path = local_path(params, scratch)
    files = [path] if path.is_file() else sorted(path.rglob("*.csv")) if path.is_dir() else []
    if not files:
        raise UserError(f"download.path {path} is not a CSV file and holds none.")
    return Source(_pictures(path, files, params), f"rows of {len(files)} CSV files")


def _pictures(path: Path, files: list[Path], params: Params) -> Iterator[SourceFile]:
    shape, header = tuple(params.csv.shape), params.csv.header
    labels: dict[str, str] = {}
    for file, part in zip(files, parts_of_files(files), strict=True):
        stem = "__".join(file.relative_to(path).with_suffix("").parts) if path.is_dir() else file.stem
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            count = sum(1 for _ in stream) - header
            stream.seek(0)
            rows = filter(None, _rows(stream, file))
            if header:
                next(rows, None)
            for number, row in enumerate(progress(rows, count, f"reading {file.name}", unit="rows")):
                content = _pixels(row[1:], shape) if row[0].strip() else UserError("the row has no label")
                if number == 0 and not header and isinstance(content, UserError):
                    content = UserError(f"{content}; if this is a header, set download.csv.header to true")
                yield SourceFile(part, _class_name(row[0], labels, file), f"{stem}-{number:06d}.png", content)


def _rows(stream: TextIO, file: Path) -> Iterator[list[str]]:
    """The rows of a CSV file.

    Raises:
        UserError: it is not a CSV file.
    """
    if stream.read(2) == "\x1f\ufffd":
        raise UserError(f"{file} is compressed: unpack it, or put it into a tar or zip archive.")
    stream.seek(0)
    try:
        yield from csv.reader(stream)
    except csv.Error as error:
        raise UserError(f"{file} is not a CSV file ({error}).") from None


def _class_name(label: str, labels: dict[str, str], file: Path) -> str:
    """The folder name of a label, which is added to `labels` (folder name to label).

    Raises:
        UserError: another label has the same folder name.
    """
    name = safe_name(label)
    if labels.setdefault(name, label.strip()) != label.strip():
        raise UserError(f"{file}: classes {labels[name]!r} and {label!r} have the same folder name: {name}.")
    return name


def _pixels(values: list[str], shape: tuple[int, ...]) -> np.ndarray | UserError:
    """The values of a row as uint8 of `shape`, or what is wrong with them."""
    if len(values) != np.prod(shape):
        return UserError(f"{len(values)} values where {' x '.join(map(str, shape))} are {np.prod(shape)}")
    try:
        numbers = np.array(values, np.float64)
    except ValueError as error:
        return UserError(f"a value is not a number ({error})")
    if not ((numbers >= 0) & (numbers <= 255) & (numbers % 1 == 0)).all():
        return UserError("a value is not a whole number from 0 to 255")
    return numbers.astype(np.uint8).reshape(shape)
