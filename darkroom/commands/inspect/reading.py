"""Which source of `download` reads a folder or file."""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from darkroom.core.errors import UserError
from darkroom.core.params import validate
from darkroom.download import sources
from darkroom.download.archives.kinds import is_archive
from darkroom.download.layout import pattern_of_names
from darkroom.download.params import Params
from darkroom.download.sources.base import Source
from darkroom.download.sources.csv import first_row
from darkroom.download.tree import looks_like_picture, read_tree

LEAST_SIDE = 8  # pixels of the pictures in a CSV file: a table of labels has fewer columns
# Keys that decide how a source is read; what the user has set for another source would stand in the way.
READING = (
    *("limit_per_class", "classes", "url", "sha256"),
    *("layout", "parts", "label_from", "pictures", "table", "csv"),
)
WHOLE = {key: value for key, value in Params().model_dump().items() if key in READING} | {"limit_per_class": None}


def read(path: Path, scratch: Path, own: Mapping[str, Any]) -> tuple[dict[str, Any], Source]:
    """Open a folder or file with the first source that understands it; also return the settings of `download`.

    Args:
        path: of the folder or file.
        scratch: an empty folder that lasts until the files have been read.
        own: the user's section `download`, of which what does not decide how a source is read holds.

    Raises:
        UserError: none does; the message is that of the most likely source.
    """
    problems = []
    for number, settings in enumerate(_candidates(path)):
        place = scratch / str(number)
        place.mkdir()
        try:
            params = validate(Params, {**own, **WHOLE, **settings}, "download")
            return WHOLE | settings, sources.read(params, place)
        except UserError as problem:
            problems.append(problem)
    raise problems[0]


def _candidates(path: Path) -> Iterator[dict[str, Any]]:
    """Settings with which a path may be read, the most likely first."""
    location = {"path": _written(path)}
    if path.is_dir():
        yield from (location | settings for settings in _of_folder(path))
    elif not path.is_file():
        yield location | {"source": "folder"}
    elif _is_csv(path):
        yield from (location | settings for settings in _of_table(path))
    elif is_archive(path):
        yield location | {"source": "archive"}
        yield location | {"source": "csv"}
    else:
        yield location | {"source": "table"}


def _of_folder(path: Path) -> Iterator[dict[str, Any]]:
    files = read_tree(path).all_files()
    tables = list(filter(_is_csv, files))
    if any("idx3-ubyte" in file.name or "idx4-ubyte" in file.name for file in files):
        yield {"source": "idx"}
    if tables and not any(map(looks_like_picture, files)):
        yield from _of_table(tables[0])
    yield {"source": "folder"}
    if pattern := pattern_of_names(files):
        yield {"source": "folder", "label_from": pattern}
    yield {"source": "table"}
    yield {"source": "csv"}


def _of_table(file: Path) -> Iterator[dict[str, Any]]:
    """A CSV file has rows of square pictures, or a picture's name in each."""
    pixels = len(first_row(file)) - 1
    for channels in ([], [3]):
        side = math.isqrt(max(pixels, 0) // math.prod(channels))
        if side >= LEAST_SIDE and side**2 * math.prod(channels) == pixels:
            yield {"source": "csv", "csv": {"shape": [side, side, *channels], "header": None}}
    yield {"source": "table"}
    yield {"source": "csv"}


def _is_csv(path: Path) -> bool:
    return path.name.lower().endswith((".csv", ".csv.gz"))


def _written(path: Path) -> str:
    """A path as it stands in params.yaml: relative to the project if it is in it."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - links stay, as for DVC
    return (absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute).as_posix()
