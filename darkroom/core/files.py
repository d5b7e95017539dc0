"""Files: atomic writing, JSON, CSV tables, links, natural sorting."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from darkroom.core import outputs
from darkroom.core.folders import check_removable
from darkroom.core.partial_files import naming, partial_file, remove


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` that replaces it when the block succeeds.

    A killed process leaves `.<name>.partial` behind, which the next run deletes: it is never taken for a result.

    Raises:
        PermissionError: the folder cannot be replaced; before the block does its work.
    """
    partial = target.parent / f".{target.name}.partial"
    for folder in (partial, target):
        check_removable(folder)
    remove(partial)
    partial.mkdir(parents=True)
    with naming(partial):
        yield partial
    remove(target)
    partial.rename(target)


@contextlib.contextmanager
def scratch_folder(near: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `near`; whatever a killed process left there is deleted first."""
    folder = near.parent / f".{near.name}.scratch.partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` that is renamed to `target` when the block succeeds."""
    with partial_file(target) as partial:
        yield partial
        partial.replace(target)


def write_text(target: Path, text: str) -> None:
    """Write a text atomically, with one final newline."""
    with whole_file(target) as partial:
        partial.write_text(text.rstrip() + "\n", encoding="utf-8")


def write_json(target: Path, content: Any) -> None:
    """Write `content` as JSON atomically; keys keep their order."""
    write_text(target, json.dumps(content, indent=2, ensure_ascii=False))


def read_json(path: Path, **types: type) -> Any:
    """Read what `write_json` wrote.

    Args:
        path: of the file.
        types: of values that it must have, by key; then the content is an object.

    Raises:
        UserError: the file is missing or damaged; the message names the stage that writes it.
    """
    try:
        content = json.loads(outputs.read_text(path))
    except (ValueError, RecursionError):
        raise outputs.damaged(path, "it is not JSON") from None
    if types and not isinstance(content, dict):
        raise outputs.damaged(path, "it is not an object")
    for key, kind in types.items():
        if not isinstance(content.get(key), kind):
            raise outputs.damaged(path, f"it has no valid {key}")
    return content


def write_csv(target: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file atomically, with a header and LF line ends; its cells are those of `csv_line`."""
    with whole_file(target) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        stream.write(csv_line(header))
        stream.writelines(map(csv_line, rows))


def read_csv(path: Path, columns: Sequence[str] = (), numbers: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read the rows that `write_csv` wrote.

    Args:
        path: of the file.
        columns: that it must have.
        numbers: columns that it must have, with a number in each row.

    Raises:
        UserError: the file is missing or damaged; the message names the stage that writes it.
    """
    try:
        text = outputs.read_text(path)
        if not text.endswith("\n"):  # every line that is written does
            raise ValueError("it is cut off")
        return parse_csv(text, columns, numbers)
    except ValueError as error:
        raise outputs.damaged(path, str(error)) from None


def parse_csv(text: str, columns: Sequence[str], numbers: Sequence[str] = ()) -> list[dict[str, str]]:
    """The rows of a CSV file's text, as `read_csv` returns them.

    Raises:
        ValueError: says what is wrong with it.
    """
    try:
        header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise ValueError(f"it is not a table: {error}") from None
    if lacking := [column for column in (*columns, *numbers) if column not in header]:
        raise ValueError(f"it has no column {lacking[0]}")
    for row, line in enumerate(lines, start=1):
        if len(line) != len(header):
            raise ValueError(f"row {row} has {len(line)} of {len(header)} cells")
    rows = [dict(zip(header, map(_original, line), strict=True)) for line in lines]
    for place, cells in enumerate(rows, start=1):
        if bad := [column for column in numbers if not _NUMBER.fullmatch(cells[column])]:
            raise ValueError(f"row {place} has no number in column {bad[0]}")
    return rows


# A spreadsheet evaluates cells that begin with one of these, and the apostrophe tells it not to:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan", re.ASCII)


def csv_line(cells: Iterable[Any]) -> str:
    """One line of a CSV file; a text that a spreadsheet would evaluate gets an apostrophe, which `read_csv` removes.

    So that nothing else is removed, a text that looks as if it had an apostrophe of ours gets another one.
    """
    line = io.StringIO()
    # Only characters of the line end are quoted: with LF alone, a CR in a cell would end the line for readers.
    csv.writer(line, lineterminator="\r\n").writerow(map(_harmless, cells))
    return line.getvalue().removesuffix("\r\n") + "\n"


def _harmless(cell: Any) -> Any:
    text = str(cell) if isinstance(cell, Path) else cell
    return f"'{text}" if isinstance(text, str) and _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _original(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a file, which copies no bytes, or copy it where the file system does not support that.

    Where `source` is a symbolic link, such as one into DVC's cache, the file behind it is linked.
    """
    source = source.resolve() if source.is_symlink() else source
    try:
        os.link(source, target)
    except OSError:  # mostly for lack of the folder; to make sure of it for each of many files takes long
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


def natural_key(name: str) -> list[str | int]:
    """Return a sort key by which 9.png comes before 10.png."""
    return [int(word) if index % 2 else word for index, word in enumerate(re.split(r"(\d+)", name))]
