"""Which source of `download` reads a folder or file."""

import csv
import gzip
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from darkroom.core.errors import UserError
from darkroom.core.params import validate
from darkroom.download import sources
from darkroom.download.archives.kinds import is_archive
from darkroom.download.layout import pattern_of_names
from darkroom.download.params import Params
from darkroom.download.sources.base import Source
from darkroom.download.tree import looks_like_picture, read_tree

# All other keys that decide how a source is read have their defaults.
WHOLE = {"limit_per_class": None, "classes": None, "url": None, "layout": "auto", "parts": None, "label_from": None}


def read(path: Path, scratch: Path) -> tuple[dict[str, Any], Source]:
    """Open a folder or file with the first source that understands it; also return the settings of `download`.

    Args:
        path: of the folder or file.
        scratch: an empty folder that lasts until the files have been read.

    Raises:
        UserError: none does; the message is that of the most likely source.
    """
    problems = []
    for number, settings in enumerate(_candidates(path)):
        place = scratch / str(number)
        place.mkdir()
        try:
            return WHOLE | settings, sources.read(validate(Params, WHOLE | settings, "download"), place)
        except UserError as problem:
            problems.append(problem)
    raise problems[0]


def _candidates(path: Path) -> Iterator[dict[str, Any]]:
    """Settings with which a path may be read, the most likely first."""
    location = {"path": _written(path)}
    if path.is_dir():
        yield from (location | settings for settings in _of_folder(path))
    elif path.is_file() and is_archive(path) and not path.name.lower().endswith(".csv.gz"):
        yield location | {"source": "archive"}
        yield location | {"source": "csv"}
    elif path.name.lower().endswith((".csv", ".csv.gz")):
        yield location | {"source": "csv", "csv": {"shape": _shape(path)}}
        yield location | {"source": "table"}
    else:
        yield location | {"source": "table" if path.is_file() else "folder"}


def _of_folder(path: Path) -> Iterator[dict[str, Any]]:
    files = read_tree(path).all_files()
    tables = [file for file in files if file.name.lower().endswith((".csv", ".csv.gz"))]
    if any("idx3-ubyte" in file.name or "idx4-ubyte" in file.name for file in files):
        yield {"source": "idx"}
    if tables and not any(map(looks_like_picture, files)):
        yield {"source": "csv", "csv": {"shape": _shape(tables[0])}}
        yield {"source": "table"}
    yield {"source": "folder"}
    if pattern := pattern_of_names(files):
        yield {"source": "folder", "label_from": pattern}
    yield {"source": "table"}
    yield {"source": "csv"}


def _written(path: Path) -> str:
    """A path as it stands in params.yaml: relative to the project if it is in it."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - links stay, as for DVC
    return (absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute).as_posix()


def _shape(file: Path) -> list[int]:
    """The shape of the square pictures in the rows of a CSV file; MNIST's if they are not square."""
    with (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8", errors="replace") as stream:
        pixels = len(next(csv.reader(stream), [])) - 1
    for channels in ([], [3]):
        side = math.isqrt(max(pixels, 0) // math.prod(channels))
        if side and side**2 * math.prod(channels) == pixels:
            return [side, side, *channels]
    return [28, 28]
