"""Writing files all or nothing, reading tables, and linking."""

import contextlib
import csv
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from darkroom.core.errors import UserError


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` that takes its place when the block ends well, and never before.

    A killed process leaves `.<name>.partial` behind, which the next run empties: it is never taken for a result.
    """
    partial = target.parent / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


@contextlib.contextmanager
def scratch_folder(near: Path) -> Iterator[Path]:
    """Yield an empty folder beside `near` that is gone afterwards; what a killed process left in it goes at once."""
    folder = near.parent / f".{near.name}.scratch.partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` that is renamed to `target` when the block ends well.

    The name holds the process, since a cache may be filled by several at a time.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".{target.name}.{os.getpid()}.partial"
    yield partial
    partial.replace(target)


def write_text(target: Path, text: str) -> None:
    """Write a text with a final newline."""
    with whole_file(target) as partial:
        partial.write_text(text.rstrip() + "\n", encoding="utf-8")


def write_json(target: Path, content: Any) -> None:
    """Write `content` as JSON with a final newline, in the order in which it was put together."""
    write_text(target, json.dumps(content, indent=2, ensure_ascii=False))


def write_csv(target: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file with a header line and a bare newline at the end of each line."""
    with whole_file(target) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header line.

    Raises:
        UserError: there is none.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: run `dvc repro`, which makes it.")
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link where the file system can (no bytes are copied), copy where it cannot."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def natural_key(name: str) -> list[str | int]:
    """A key that sorts names as people do: 9.png before 10.png."""
    return [int(word) if place % 2 else word for place, word in enumerate(re.split(r"(\d+)", name))]
