"""Tables opened as a source: which of them have labels, which files they name, and which files they do not name."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from darkroom.core.errors import UserError
from darkroom.core.paths import INCOMING
from darkroom.core.terminal import progress
from darkroom.download.local import origin
from darkroom.download.params import Params
from darkroom.download.parts import parts_by_name, parts_of_files
from darkroom.download.sources.base import Source, SourceFile
from darkroom.download.spelling import one_spelling
from darkroom.download.tables.pictures import Files, Listed, short_names, source_files, values_of_parts, with_bytes
from darkroom.download.tables.rows import is_table, lacking, meaning, read_table
from darkroom.download.tree import Tree, looks_like_picture, read_tree


def metadata(tree: Tree) -> list[Path]:
    """The tables called `metadata` in a folder of pictures that have a label for each."""
    files = [file for file in tree.all_files() if file.stem == "metadata" and is_table(file)]
    return [file for file in files if not lacking(table := read_table(file), meaning(table, {}))]


def table_source(paths: Sequence[Path], tree: Tree, params: Params) -> Source:
    """The pictures that tables in a tree list.

    Raises:
        UserError: no table has pictures and labels, none of the pictures exists, or they are where DVC does not look.
    """
    tables, left, notes = _with_labels(paths, tree, params)
    roots = _roots(tree, params)
    files = source_files(tables, Files(roots), params.parts.model_dump() if params.parts else None)
    _check_found(files, tables, tree, params)
    used = {file.content for file in files if isinstance(file.content, Path)}
    lost = sum(isinstance(file.content, UserError) for file in files)
    names, spelling = one_spelling(short_names(files), params.classes or ())
    unlisted = [
        SourceFile("", "", path.relative_to(root).as_posix(), UserError("no row of a table names it"))
        for root, inside in roots.items()
        if root == tree.path or any(path in used for path in inside)
        for path in inside
        if path not in used and looks_like_picture(path)
    ]
    if lost:
        notes.append(f"{lost:,} rows cannot be used, such as {next(_reasons(files))}")
    if unlisted:
        notes.append(f"{len(unlisted):,} pictures are in no row and left out, such as {unlisted[0].name}")
    details: dict[str, Any] = {
        "tables": {_name(item.table.path, tree): dict(item.columns) for item in tables},
        "left": left,
        "rows_left_out": lost,
        "pictures_without_row": len(unlisted),
        "clutter": sum(len(inner.clutter) for inner in tree.walk()),
        "notes": [*notes, *spelling],
    }
    stream = (file for part in (with_bytes(names, tables), unlisted) for file in part)
    count = len(files) + len(unlisted)
    described = "; ".join(f"{_name(item.table.path, tree)} ({_meaning(item)})" for item in tables[:5])
    more = f" and {len(tables) - 5} more" if len(tables) > 5 else ""
    checked = progress(stream, count, f"checking {origin(params)}", unit="files")
    return Source(checked, f"table {described}{more}", details)


def _roots(tree: Tree, params: Params) -> dict[Path, list[Path]]:
    """The files that rows may name, by the folders below which they are.

    Raises:
        UserError: `download.pictures` does not exist, or is where DVC does not look.
    """
    roots = {tree.path: tree.all_files()}
    if params.pictures is None:
        if Path(params.path).is_file() and _is_below(tree.path, INCOMING):
            roots |= {INCOMING: read_tree(INCOMING).all_files()}
        return roots
    inner, folder = tree.find(params.pictures), Path(params.pictures)
    if inner:
        return roots | {inner.path: inner.all_files()}
    if not folder.is_dir():
        raise UserError(f"download.pictures {folder} is not a folder, here or in {origin(params)}.")
    if not _is_below(folder, Path(params.path)) and not _is_below(folder, INCOMING):
        both = os.path.commonpath([folder.resolve(), Path(params.path).resolve()])
        raise UserError(
            f"download.pictures {folder} is neither in download.path nor in {INCOMING}, so DVC would not notice when "
            f"pictures change: set download.path to {both}, which has the table and the pictures, or copy both into "
            f"{INCOMING}."
        )
    return roots | {folder: read_tree(folder).all_files()}


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _with_labels(paths: Sequence[Path], tree: Tree, params: Params) -> tuple[list[Listed], dict[str, str], list[str]]:
    """The tables that have pictures and labels; why the others are left; and sentences for the terminal."""
    tables, left, notes = [], {}, []
    settings = params.table.model_dump()
    for path in paths:
        if len(paths) > 1 and re.search("submission", path.stem, re.IGNORECASE):
            left[_name(path, tree)] = "a sample of what to hand in, whose labels mean nothing"
            continue
        try:
            table = read_table(path)
            columns = meaning(table, settings)
            reason = lacking(table, columns)
        except UserError as error:
            if len(paths) == 1:
                raise
            reason = str(error)
        if reason:
            left[_name(path, tree)] = reason
        else:
            tables.append(Listed(table, columns, "train"))
    if not tables:
        name, reason = next(iter(left.items()))
        raise UserError(f"{origin(params)}: {name} lists no labelled pictures: {reason}.")
    notes += [f"{name} is left out: {reason}" for name, reason in left.items()]
    parts = _parts([item.table.path.relative_to(tree.path) for item in tables])
    for number, (item, part) in enumerate(zip(tables, parts, strict=True)):
        columns = dict(item.columns)
        if "part" in columns and params.table.part is None and params.parts is None:
            try:
                values_of_parts(item.table, columns["part"], None)
            except UserError:  # a column that only sounds like it
                notes.append(f"{_name(item.table.path, tree)}: column {columns.pop('part')} has no names of parts")
        tables[number] = Listed(item.table, columns, part)
    return tables, left, notes


def _parts(paths: Sequence[Path]) -> list[str]:
    """The part of each table: by its name, or by that of a folder in which it lies."""
    parts = parts_of_files(paths)
    if set(parts) == {"train"}:
        by_folder = parts_by_name({folder for path in paths for folder in path.parent.parts})
        parts = [next((by_folder[name] for name in path.parent.parts if name in by_folder), "train") for path in paths]
    return parts if "train" in parts else ["train"] * len(parts)


def _check_found(files: Sequence[SourceFile], tables: Sequence[Listed], tree: Tree, params: Params) -> None:
    """Raise a UserError if no row can be used, or if pictures are only where DVC does not look."""
    if any(not isinstance(file.content, UserError) for file in files):
        return
    path = Path(params.path)
    beside = path.is_file() and is_table(path) and next(filter(looks_like_picture, path.parent.rglob("*")), None)
    if beside:
        raise UserError(
            f"{path} names pictures beside it, and DVC would not notice when they change: set download.path to "
            f"{path.parent}, which has the table and the pictures."
        )
    reason = next(_reasons(files), "it has no rows")
    columns = tables[0].columns
    raise UserError(
        f"{origin(params)}: no row can be used, for example: {reason}. Set download.pictures to the folder to which "
        f"the paths in column {columns['picture']} are relative, or another column in download.table.picture."
    )


def _reasons(files: Sequence[SourceFile]) -> Any:
    return (f"{file.name}: {file.content}" for file in files if isinstance(file.content, UserError))


def _meaning(item: Listed) -> str:
    """The columns for a person."""
    roles = {"picture": "pictures", "label": "labels", "part": "parts", "group": "groups"}
    columns = ", ".join(f"{roles[role]} in {column}" for role, column in item.columns.items())
    return columns if "part" in item.columns else f"{columns}, all {item.part}"


def _name(path: Path, tree: Tree) -> str:
    return path.relative_to(tree.path).as_posix()
