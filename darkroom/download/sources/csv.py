"""Source `csv`: rows of a label and pixel values."""

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from darkroom.core.errors import UserError
from darkroom.core.terminal import progress
from darkroom.download.local import local_path, origin
from darkroom.download.params import Params
from darkroom.download.parts import parts_of_files
from darkroom.download.sources.base import Source, SourceFile, safe_name
from darkroom.download.tree import read_tree

LABELS = ("label", "class", "target", "y", "category")  # names of the column of labels, in small letters
FIRST_ROWS = 20  # the usual number of columns is that of a file
ROWS = 256  # that are parsed together


class Table(NamedTuple):
    """A CSV file with labelled pictures."""

    path: Path
    header: bool
    label: int  # its column


def read(params: Params, scratch: Path) -> Source:
    """One picture a row of a CSV file, or of each CSV file in a folder: the label, and pixel values from 0 to 255.

    `download.csv.shape` is that of a picture, (height, width) for grey or (height, width, 3) for colour. Where there is
    a header, the column of labels is found by its name; otherwise it is the first. Files without labels are left. Rows
    of files with `test` or `val` in their names are official parts if another file is left for training.

    Raises:
        UserError: there is no such file, no CSV file in the folder, or none of them has labels and pixels.
    """
    path = local_path(params, scratch)
    files = (
        [path] if path.is_file() else list(filter(Path.is_file, read_tree(path).all_files())) if path.is_dir() else []
    )
    files = [file for file in files if file == path or file.name.lower().endswith((".csv", ".csv.gz"))]
    if not files:
        raise UserError(f"download.path {origin(params)} is not a CSV file and holds none.")
    shape = tuple(params.csv.shape)
    names = {file: file.relative_to(path).as_posix() if path.is_dir() else file.name for file in files}
    found = {file: _table(file, shape, params.csv.header) for file in files}
    tables = [table for table in found.values() if isinstance(table, Table)]
    left = {names[file]: reason for file, reason in found.items() if isinstance(reason, str)}
    if not tables:
        name, reason = next(iter(left.items()))
        raise UserError(
            f"download.path {origin(params)}: no CSV file has labels and pictures of {_product(shape)} pixels; {name} "
            f"has {reason}. Set download.csv.shape to [height, width], or [height, width, 3] for colour."
        )
    details = {"left": left, "notes": [f"{name} is left out: it has {reason}" for name, reason in left.items()]}
    description = f"rows of {', '.join(names[table.path] for table in tables)}"
    return Source(_pictures(tables, names, shape), description, details)


def first_row(file: Path) -> list[str]:
    """The first row of a CSV file that is not empty, gzipped or not.

    Raises:
        UserError: it is damaged, or not a CSV file.
    """
    return next(filter(None, _rows(_lines(file), file)), [])


def _product(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _table(file: Path, shape: tuple[int, ...], header: bool | None) -> Table | str:
    """How a file is read, or what it has instead of labelled pictures."""
    rows = list(islice(filter(None, _rows(_lines(file), file)), FIRST_ROWS))
    if not rows:
        return Table(file, False, 0)  # its rows are as good as those of other files
    size = int(np.prod(shape))
    header = _is_header(rows[0]) if header is None else header
    columns = Counter(map(len, rows[:1] if header else rows)).most_common(1)[0][0]
    names = [name.strip().lower() for name in rows[0]] if header else []
    label = next((names.index(name) for name in LABELS if name in names), 0)
    if columns == size and (not header or names[label] not in LABELS):
        return f"no labels, only {_product(shape)} pixels"
    if columns != size + 1:
        return f"{columns:,} columns, where a label and {_product(shape)} pixels are {size + 1:,}"
    return Table(file, header, label)


def _is_header(row: list[str]) -> bool:
    """Whether a row has names, not the values of a picture. They may be numbers: label, 0, 1, 2, ..."""
    try:
        numbers = [float(value) for value in row if value.strip().lower() not in LABELS]
    except ValueError:
        return not any(value.strip().isdecimal() for value in row)
    named = len(numbers) < len(row)
    return named and (max(numbers, default=0) > 255 or numbers in (_count(0, numbers), _count(1, numbers)))


def _count(start: int, numbers: list[float]) -> list[float]:
    return [float(start + number) for number in range(len(numbers))]


def _pictures(tables: list[Table], names: dict[Path, str], shape: tuple[int, ...]) -> Iterator[SourceFile]:
    classes = _Classes()
    for table, part in zip(tables, parts_of_files([table.path for table in tables]), strict=True):
        stem = "__".join(Path(names[table.path].removesuffix(".gz")).with_suffix("").parts)
        count = sum(1 for _ in _lines(table.path)) - table.header
        rows = progress(_labelled(table, shape), count, f"reading {table.path.name}", unit="rows")
        for number, (label, content) in enumerate(rows):
            folder, name = classes.folder(label, table.path), f"{stem}-{number:06d}.png"
            if number == 0 and not table.header and isinstance(content, UserError):
                hint = UserError(f"{content}; if this is a header, set download.csv.header to true")
                yield SourceFile(part, folder, name, hint)
            else:
                yield SourceFile(part, folder, name, content)


def _labelled(table: Table, shape: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray | UserError]]:
    """The label and the pixels of each row, or what is wrong with it."""
    lines = _lines(table.path)
    if table.header:
        next(filter(None, _rows(lines, table.path)), None)
    while block := list(islice(lines, ROWS)):
        if parsed := _parsed(block, table.label, shape):
            yield from parsed
            continue
        # A row of these is odd, so they are read one by one; if there are quotes, a row may have several lines.
        quoted = any('"' in line for line in block)
        for row in filter(None, _rows(chain(block, lines) if quoted else block, table.path)):
            label = row.pop(table.label) if table.label < len(row) else ""
            yield label, _pixels(row, shape) if label.strip() else UserError("the row has no label")


def _parsed(block: list[str], column: int, shape: tuple[int, ...]) -> list[tuple[str, np.ndarray | UserError]] | None:
    """The labels and pixels of lines, all at once; None if there is anything unusual in them."""
    cells = [line.split(",", column + 1) for line in (line.rstrip("\r\n") for line in block) if line]
    if not cells or any('"' in line for line in block) or any(len(row) != column + 2 for row in cells):
        return None
    labels = [row.pop(column) for row in cells]
    try:
        values = np.loadtxt([",".join(row) for row in cells], np.uint8, delimiter=",", comments=None, ndmin=2)
    except ValueError:
        return None
    usual = values.shape == (len(cells), np.prod(shape)) and all(
        label.strip() and len(label) <= csv.field_size_limit() for label in labels
    )
    return list(zip(labels, values.reshape(-1, *shape), strict=True)) if usual else None


def _lines(file: Path) -> Iterator[str]:
    """The lines of a text file, gzipped or not.

    Raises:
        UserError: it is damaged.
    """
    with file.open("rb") as start:
        zipped = start.read(2) == b"\x1f\x8b"
    try:
        with (gzip.open if zipped else open)(file, "rt", encoding="utf-8-sig", errors="replace", newline="") as stream:
            yield from stream
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file} cannot be read ({error}).") from None


def _rows(lines: Iterable[str], file: Path) -> Iterator[list[str]]:
    """The rows of a CSV file.

    Raises:
        UserError: it is not a CSV file.
    """
    try:
        yield from csv.reader(lines)
    except csv.Error as error:
        raise UserError(f"{file} is not a CSV file ({error}).") from None


class _Classes:
    """The folder names of labels."""

    def __init__(self) -> None:
        self.folders: dict[str, str] = {}  # by label
        self.labels: dict[str, str] = {}  # by folder

    def folder(self, label: str, file: Path) -> str:
        """The folder name of a label.

        Raises:
            UserError: another label has the same folder name.
        """
        if label not in self.folders:
            name = safe_name(label)
            if self.labels.setdefault(name, label.strip()) != label.strip():
                raise UserError(
                    f"{file}: classes {self.labels[name]!r} and {label!r} have the same folder name: {name}."
                )
            self.folders[label] = name
        return self.folders[label]


def _pixels(values: list[str], shape: tuple[int, ...]) -> np.ndarray | UserError:
    """The values of a row as uint8 of `shape`, or what is wrong with them."""
    if len(values) != np.prod(shape):
        return UserError(f"{len(values)} values where {_product(shape)} are {np.prod(shape)}")
    try:
        numbers = np.array(values, np.float64)
    except ValueError as error:
        return UserError(f"a value is not a number ({error})")
    if not ((numbers >= 0) & (numbers <= 255) & (numbers % 1 == 0)).all():
        return UserError("a value is not a whole number from 0 to 255")
    return numbers.astype(np.uint8).reshape(shape)
