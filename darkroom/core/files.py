"""Files: atomic writing, CSV tables, links, natural sorting."""

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
    """Yield an empty folder beside `target` that replaces it when the block succeeds.

    A killed process leaves `.<name>.partial` behind, which the next run deletes: it is never taken for a result.
    """
    partial = target.parent / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    shutil.rmtree(target, ignore_errors=True)
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
    """Yield a path beside `target` that is renamed to `target` when the block succeeds.

    Its name contains the process id, since several processes may fill a cache at the same time.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".{target.name}.{os.getpid()}.partial"
    yield partial
    partial.replace(target)


def write_text(target: Path, text: str) -> None:
    """Write a text atomically, with one final newline."""
    with whole_file(target) as partial:
        partial.write_text(text.rstrip() + "\n", encoding="utf-8")


def write_json(target: Path, content: Any) -> None:
    """Write `content` as JSON atomically; keys keep their order."""
    write_text(target, json.dumps(content, indent=2, ensure_ascii=False))


def write_csv(target: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file atomically, with a header and LF line ends."""
    with whole_file(target) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file with a header.

    Raises:
        UserError: the file is missing.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: run `dvc repro`, which creates it.")
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def allocate(path: Path) -> None:
    """Reserve the disk space of a file that is to be written through memory, where a full disk would kill the process.

    Raises:
        OSError: there is too little.
    """
    with path.open("r+b") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None


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
