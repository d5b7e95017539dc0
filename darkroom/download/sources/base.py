"""What all sources share: the files that they yield, and the names of classes and official parts."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from darkroom.core.errors import UserError

# The names of official parts in data sets, and ours.
PART_NAMES = {
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val"},
    **{"test": "test", "testing": "test"},
}


class SourceFile(NamedTuple):
    """A file of a source, not yet checked."""

    part: str  # train, val or test
    label: str
    name: str
    content: Path | bytes | np.ndarray | UserError  # a file, its bytes, uint8 pixels, or why there is none


class Source(NamedTuple):
    """A source that has been opened: its files, and how it was read."""

    files: Iterable[SourceFile]
    description: str  # one line for the terminal and the report
    details: Mapping[str, Any] = MappingProxyType({})  # JSON, for the report


def safe_name(label: str) -> str:
    """A class name as a folder name that every operating system allows."""
    return re.sub(r'[\\/:*?"<>|\s]+', "_", label).strip("._") or "_"


def parts_of_files(files: Sequence[Path]) -> list[str]:
    """The official part in each file's name, such as `mnist_test.csv`; all are train if none would be."""
    names = {**PART_NAMES, "t10k": "test"}
    words = [re.split(r"[^a-z0-9]+", file.name.lower()) for file in files]
    parts = [next((part for name, part in names.items() if name in file_words), "train") for file_words in words]
    return parts if "train" in parts else ["train"] * len(files)


def visible_files(folder: Path, parents: frozenset[str] = frozenset()) -> list[Path]:
    """Everything below `folder` except folders and hidden entries, in canonical order; links to folders are followed.

    A link to a folder that contains it would never end: it is listed as a file.
    """
    files = []
    parents |= {os.path.realpath(folder)}
    for entry in sorted(folder.iterdir()):
        loop = entry.is_symlink() and any(Path(path).is_relative_to(os.path.realpath(entry)) for path in parents)
        if not entry.name.startswith("."):
            files += visible_files(entry, parents) if entry.is_dir() and not loop else [entry]
    return files
