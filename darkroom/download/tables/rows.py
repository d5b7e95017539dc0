"""Tables of pictures: CSV, TSV, JSON Lines and Parquet as rows of text, and what their columns mean."""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from darkroom.core.errors import UserError
from darkroom.images.formats import SUFFIXES as PICTURE_SUFFIXES

COLUMNS = ("picture", "label", "part", "group")
# The usual names of each column, the most telling first, in lower case without spaces, hyphens and underscores.
_USUAL = {
    "picture": (
        *("image", "picture", "img", "photo", "filename", "imagepath", "imgpath", "filepath", "picturepath", "path"),
        *("file", "imagename", "imgname", "imagefile", "imageid", "imgid", "pictureid", "photoid", "fname", "id"),
    ),
    "label": (
        *("label", "labels", "class", "classname", "category", "labelname", "labeltext", "target", "species", "breed"),
        *("classlabel", "categoryname", "diagnosis", "dx", "y", "classid", "labelid", "categoryid"),
    ),
    "part": ("split", "part", "subset", "partition", "set", "dataset", "datasplit", "usage"),
    "group": ("group", "groupid", "patient", "patientid", "subject", "subjectid"),
}


class Table(NamedTuple):
    """A table: its columns, and its rows as often as they are asked for."""

    path: Path
    columns: list[str]
    rows: Callable[[], Iterator[Mapping[str, Any]]]  # values are text, bytes, or mappings of `bytes` and `path`


def read_table(path: Path) -> Table:
    """Open a table; values keep the text that they have in the file, so that class 01 is not class 1.

    Raises:
        UserError: it is empty or not what its name says.
    """
    try:
        return _READERS[path.suffix.lower()](path)
    except UserError:
        raise
    except Exception as error:  # pyarrow has many; OSErrors are the environment's
        if isinstance(error, OSError) and error.errno:
            raise
        raise UserError(f"{path.name} cannot be read as a table ({' '.join(str(error).split())[:200]}).") from None


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name."""
    return path.suffix.lower() in _READERS


def meaning(table: Table, settings: Mapping[str, str | None]) -> dict[str, str]:
    """The column of each of `COLUMNS` that the table has, by its setting or the usual names.

    Raises:
        UserError: a setting names a column that the table does not have.
    """
    columns = {}
    plain = {re.sub(r"[\s_-]+", "", column).lower(): column for column in reversed(table.columns)}
    for role in COLUMNS:
        if name := settings.get(role):
            if name not in table.columns:
                raise UserError(f"download.table.{role}: {table.path.name} has no column {name}, but {_some(table)}.")
            columns[role] = name
        elif found := next((plain[usual] for usual in _USUAL[role] if usual in plain), None):
            columns[role] = found
    named = list(settings.values())
    return {role: name for role, name in columns.items() if settings.get(role) or name not in named}


def lacking(table: Table, columns: Mapping[str, str]) -> str:
    """Why a table is of no use, or an empty text."""
    for role, what in (("picture", "pictures"), ("label", "labels")):
        if role not in columns:
            return f"it has no column of {what} (columns: {_some(table)}); if one is, name it in download.table.{role}"
    return ""


def _some(table: Table) -> str:
    more = len(table.columns) - 12
    return ", ".join(table.columns[:12]) + (f" and {more:,} more" if more > 0 else "")


def _csv(path: Path) -> Table:
    """A text table with any usual delimiter; without a header, its columns are numbered from 1."""
    encoding = _encoding(path)
    with path.open(encoding=encoding, newline="") as stream:
        line = stream.readline()
    delimiter = "\t" if path.suffix.lower() in (".tsv", ".tab") else max(",;\t|", key=line.count)

    def lines() -> Iterator[list[str]]:
        with path.open(encoding=encoding, newline="") as stream:
            try:
                yield from filter(None, csv.reader(stream, delimiter=delimiter, skipinitialspace=True))
            except csv.Error as error:
                raise UserError(f"{path.name} is not a table of text ({error}).") from None

    first = next(lines(), None)
    if first is None:
        raise UserError(f"{path.name} is empty.")
    has_header = not any(Path(value.strip()).suffix.lower() in PICTURE_SUFFIXES for value in first)
    columns = [value.strip() for value in first] if has_header else _roles(first)

    def rows() -> Iterator[Mapping[str, Any]]:
        iterator = lines()
        if has_header:
            next(iterator)
        for values in iterator:
            yield dict(zip(columns, values, strict=False))

    return Table(path, columns, rows)


def _roles(values: list[str]) -> list[str]:
    """The columns of a table without a header: the picture, and the label if there is only one other column."""
    picture = next(row for row, value in enumerate(values) if Path(value.strip()).suffix.lower() in PICTURE_SUFFIXES)
    names = [str(number) for number in range(1, len(values) + 1)]
    names[picture] = "picture"
    if len(names) == 2:
        names[1 - picture] = "label"
    return names


def _encoding(path: Path) -> str:
    """UTF-8, UTF-16 with a byte order mark, or Windows' Latin."""
    with path.open("rb") as stream:
        start = stream.read(2)
        if start in (b"\xff\xfe", b"\xfe\xff"):
            return "utf-16"
        stream.seek(0)
        try:
            for line in stream:
                line.decode("utf-8")
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8-sig"


def _json_lines(path: Path) -> Table:
    """A JSON object a line."""

    def rows() -> Iterator[Mapping[str, Any]]:
        with path.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    try:
                        row = json.loads(line)
                    except json.JSONDecodeError as error:
                        raise UserError(f"{path.name}, line {number}, is not JSON ({error.msg}).") from None
                    if not isinstance(row, dict):
                        raise UserError(f"{path.name}, line {number}, is not a JSON object.")
                    yield {name: _text(value) for name, value in row.items()}

    names: dict[str, None] = {}
    for row in rows():
        names |= dict.fromkeys(row)
    if not names:
        raise UserError(f"{path.name} is empty.")
    return Table(path, list(names), rows)


def _parquet(path: Path) -> Table:
    """A Parquet file; numbers of classes become the names that Hugging Face's metadata has for them."""
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    names = _class_names(file.schema_arrow.metadata or {})

    def rows() -> Iterator[Mapping[str, Any]]:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=256):
            for row in batch.to_pylist():
                for name, labels in names.items():
                    if isinstance(row.get(name), int) and 0 <= row[name] < len(labels):
                        row[name] = labels[row[name]]
                yield {name: _text(value) for name, value in row.items()}

    return Table(path, file.schema_arrow.names, rows)


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """The class names of columns of type ClassLabel."""
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return {name: item["names"] for name, item in features.items() if isinstance(item, dict) and item.get("names")}


def _text(value: Any) -> Any:
    """A value as text, but bytes and mappings as they are, and nothing as an empty text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # whole numbers beside missing ones
    return value if isinstance(value, str | bytes | dict) else str(value)


_READERS: dict[str, Callable[[Path], Table]] = {
    **dict.fromkeys((".csv", ".tsv", ".tab"), _csv),
    **dict.fromkeys((".jsonl", ".ndjson"), _json_lines),
    ".parquet": _parquet,
}
