"""A folder as a tree of visible files, and how it is shown to a person."""

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from darkroom.images.folders import is_clutter
from darkroom.images.formats import START, SUFFIXES, format_of

MAX_SHOWN = 12  # folders of a folder
MAX_SHOWN_DEPTH = 3


@dataclass(frozen=True)
class Tree:
    """A folder: its files and folders, each sorted by name, without clutter."""

    path: Path
    files: list[Path]
    folders: list["Tree"]
    clutter: list[Path] = field(default_factory=list)  # in this folder itself

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @functools.cached_property
    def own_pictures(self) -> int:
        """The files directly in this folder that look like pictures."""
        return sum(map(looks_like_picture, self.files))

    @functools.cached_property
    def pictures(self) -> int:
        """The files below this folder that look like pictures."""
        return self.own_pictures + sum(folder.pictures for folder in self.folders)

    @functools.cached_property
    def filled(self) -> list["Tree"]:
        """The folders in this one that have pictures somewhere."""
        return [folder for folder in self.folders if folder.pictures]

    @functools.cached_property
    def is_empty(self) -> bool:
        """Whether no file is below this folder."""
        return not self.files and all(folder.is_empty for folder in self.folders)

    def walk(self) -> Iterator["Tree"]:
        """This folder and all below it."""
        yield self
        for folder in self.folders:
            yield from folder.walk()

    def all_files(self) -> list[Path]:
        """All files below this folder, in canonical order."""
        return [file for tree in self.walk() for file in tree.files]

    def find(self, path: str) -> "Tree | None":
        """The folder at a relative path, or None."""
        head, _, tail = path.strip("/").partition("/")
        for folder in self.folders:
            if folder.name == head:
                return folder.find(tail) if tail else folder
        return self if head in ("", ".") else None


def read_tree(path: Path) -> Tree:
    """Read a folder, in which no folder is a link: `tracked.check_tracked` refuses those."""
    files, folders, clutter = [], [], []
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            inner = path / entry.name
            if is_clutter(entry.name):
                clutter += [inner] if not entry.is_dir(follow_symlinks=False) else _all_below(inner)
            elif not os.path.isdir(inner):  # noqa: PTH112 - False for a link to itself
                files.append(inner)
            else:
                folders.append(read_tree(inner))
    return Tree(path, files, folders, clutter)


def _all_below(folder: Path) -> list[Path]:
    return [Path(root) / name for root, _, names in os.walk(folder) for name in names]


def looks_like_picture(file: Path) -> bool:
    """Whether a file has the suffix of a picture, or the first bytes of one."""
    if file.suffix.lower() in SUFFIXES:
        return True
    try:
        if not file.is_file():  # to open a pipe blocks
            return False
        with file.open("rb") as stream:
            return format_of(stream.read(START)) not in (None, "BMP", "PPM")  # many texts start with BM or P1
    except OSError:
        return False


def shown(tree: Tree, name: str) -> str:
    """The tree as text: folders and the number of pictures in each."""
    rows = list(_rows(tree, name, 0))
    width = max(len(text) for text, _ in rows)
    return "\n".join(f"{text:<{width}}  {count}".rstrip() for text, count in rows)


def _rows(tree: Tree, name: str, depth: int) -> Iterator[tuple[str, str]]:
    indent = "  " * (depth + 1)
    yield f"{indent}{name.rstrip('/')}/", _count(tree.pictures, "picture")
    if depth == MAX_SHOWN_DEPTH:
        return
    folders = tree.folders[:MAX_SHOWN]
    for folder in folders:
        yield from _rows(folder, folder.name, depth + 1)
    if len(tree.folders) > len(folders):
        rest = tree.folders[MAX_SHOWN:]
        yield f"{indent}  … {len(rest):,} more folders", _count(sum(folder.pictures for folder in rest), "picture")
    if tree.own_pictures and tree.filled:
        yield f"{indent}  (directly in it)", _count(tree.own_pictures, "picture")
    if others := len(tree.files) - tree.own_pictures:
        names = ", ".join(file.name for file in tree.files if not looks_like_picture(file))
        yield f"{indent}  {names if len(names) < 60 else f'{names[:57]}…'}", _count(others, "other file")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
