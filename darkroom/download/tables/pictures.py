"""The pictures that tables list: rows are matched with files, or have the picture's bytes themselves."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from darkroom.core.errors import UserError
from darkroom.download.parts import parts_by_name
from darkroom.download.sources.base import SourceFile, class_name
from darkroom.download.tables.rows import COLUMNS, Table
from darkroom.images.formats import SUFFIXES


class Listed(NamedTuple):
    """A table with the meaning of its columns, and its part where it has no column of parts."""

    table: Table
    columns: Mapping[str, str]
    part: str


class Files:
    """The files that rows may name, below one or several folders, of which the first one has precedence."""

    def __init__(self, roots: Mapping[Path, Sequence[Path]]) -> None:
        """Index `roots`: each folder with the files below it."""
        self._roots = list(roots)
        self._all = {path for files in roots.values() for path in files}
        self._stems: dict[Path, list[Path]] = {}
        self._names: dict[str, list[Path]] = {}
        for path in self._all:
            if path.suffix.lower() in SUFFIXES:
                self._stems.setdefault(path.with_suffix(""), []).append(path)
                self._names.setdefault(path.stem, []).append(path)
            self._names.setdefault(path.name, []).append(path)

    def relative(self, path: Path) -> str:
        """The path of a file below its root."""
        root = next(root for root in self._roots if path.is_relative_to(root))
        return path.relative_to(root).as_posix()

    def find(self, name: str, table: Path) -> Path | UserError:
        """The file that a row means: a path from the table's folder or a root, or the only file so called.

        The suffix may be missing. Of files with one name that in a folder called like the table counts: train/1.jpg
        for train_labels.csv. Only files of the roots are found, wherever `name` leads.
        """
        names = dict.fromkeys((name, name.replace("\\", "/")))
        for text in names:
            for base in (table.parent, *self._roots):
                path = _joined(base, text)
                if path in self._all:
                    return path
                if len(stems := self._stems.get(path, [])) == 1:
                    return stems[0]
        same = self._names.get(PurePosixPath(list(names)[-1]).name, [])
        if len(same) > 1:
            words = set(re.split(r"[\W_]+", table.stem.lower()))
            same = [path for path in same if words & {part.lower() for part in path.parent.parts}] or same
        if len(same) == 1:
            return same[0]
        if "://" in name:
            return UserError("the table gives an address on the web: download it first")
        return UserError(f"{len(same)} files are called so: give their folders" if same else "there is no such file")


def _joined(base: Path, name: str) -> Path:
    """`base / name` without `.` and `..`, as far as that is possible without looking at the disk."""
    parts: list[str] = []
    for part in (base / name).parts:
        if part == ".." and parts and parts[-1] not in ("..", "/"):
            parts.pop()
        elif part != ".":
            parts.append(part)
    return Path(*parts)


def source_files(tables: Sequence[Listed], files: Files, parts: Mapping[str, Any] | None) -> list[SourceFile]:
    """A file for each row of the tables, in order; one that cannot be used has the reason as its content.

    Pictures in the tables themselves are empty bytes, which `with_bytes` replaces, so that they need no memory.

    Args:
        tables: with columns of pictures and labels.
        files: that rows may name.
        parts: the values in the column of parts that mean each part, or None for the usual names.

    Raises:
        UserError: the column of parts has a value that means none, or two labels have the same folder name.
    """
    labels: dict[str, str] = {}
    seen: dict[tuple[Path, str], str] = {}
    rows = []
    for item in tables:
        table, columns, part = item.table, item.columns, item.part
        part_of = values_of_parts(table, columns.get("part"), parts)
        for number, row in enumerate(table.rows(), start=1):
            where = f"{table.path.name}, row {number:,}"
            label, value, group = (str(row.get(columns.get(role, ""), "")).strip() for role in COLUMNS[1:])
            name, content = _content(row.get(columns["picture"], ""), files, table.path, number)
            if isinstance(content, Path) and label:
                first = seen.setdefault((content, label), where)
                content = content if first == where else UserError(f"{first}, names the same picture")
            if not label:
                content = UserError("the row has no label")
            elif "part" in columns and not value:
                content = UserError("the row has no part")
            if isinstance(content, UserError):
                content = UserError(f"{content} ({where})")
            folder = class_name(label, labels, table.path) if label else ""
            rows.append(SourceFile(part_of.get(value, part) if label else "", folder, name, content, group))
    return rows


def with_bytes(files: Sequence[SourceFile], tables: Iterable[Listed]) -> Iterator[SourceFile]:
    """The files of `source_files` with the bytes of the pictures that are in the tables themselves."""
    remaining = iter(files)
    for table, columns, _ in tables:
        for row, file in zip(table.rows(), remaining, strict=False):
            value = row.get(columns["picture"], "")
            data = value.get("bytes") if isinstance(value, dict) else value
            yield file._replace(content=data) if file.content == b"" and isinstance(data, bytes) else file


def _content(value: Any, files: Files, table: Path, number: int) -> tuple[str, Path | bytes | UserError]:
    """The name of a row's picture, and its file, or empty bytes if the row has the picture itself."""
    path = str(value.get("path") or "") if isinstance(value, dict) else ""
    data = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(data, bytes):
        return path.replace("\\", "/") or f"{table.stem}-{number:06d}{_suffix(data)}", b""
    name = (path if isinstance(value, dict) else str(value)).strip()
    found: Path | UserError = files.find(name, table) if name else UserError("the row has no picture")
    if isinstance(found, Path):
        return files.relative(found), found
    return name or f"{table.stem}-{number:06d}", found


def _suffix(data: bytes) -> str:
    """The suffix of a picture by its first bytes."""
    suffixes = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"RI": ".webp", b"GI": ".gif", b"BM": ".bmp"}
    return suffixes.get(data[:2], "")


def values_of_parts(table: Table, column: str | None, parts: Mapping[str, Any] | None) -> dict[str, str]:
    """The part that each value in a column means.

    Raises:
        UserError: a value means none.
    """
    if column is None:
        return {}
    values = {str(row.get(column, "")).strip() for row in table.rows()} - {""}
    if parts is not None:
        named = {part: [names] if isinstance(names, str) else list(names) for part, names in parts.items() if names}
        part_of = {name: part for part, names in named.items() for name in names}
    else:
        part_of = parts_by_name(values)
    if unknown := sorted(values - set(part_of)):
        raise UserError(
            f"{table.path.name}: {unknown[0]!r} in column {column} is not a part: say which values are, such as "
            f"download.parts: {{train: {sorted(values)[0]!r}, test: {sorted(values)[-1]!r}}}."
        )
    return part_of


def short_names(files: Sequence[SourceFile]) -> list[SourceFile]:
    """Files named as in class folders: by the path below the folder of their class, or below what a part shares."""
    folders: dict[str, list[tuple[str, ...]]] = {}
    for file in files:
        folders.setdefault(file.part, []).append(PurePosixPath(file.name).parent.parts)
    shared = {part: _shared(paths) for part, paths in folders.items()}
    named = []
    for file in files:
        parts = PurePosixPath(file.name).parts
        start = parts.index(file.label) + 1 if file.label in parts[:-1] else shared[file.part]
        named.append(file._replace(name="__".join(part for part in parts[start:] if part not in ("/", ".."))))
    return named


def _shared(folders: Sequence[tuple[str, ...]]) -> int:
    """How many outer folders all have in common."""
    first, last = min(folders), max(folders)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
