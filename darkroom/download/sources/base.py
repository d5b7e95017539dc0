"""What all sources share: the files that they yield, and the names of classes."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from darkroom.core.errors import UserError


class SourceFile(NamedTuple):
    """A file of a source, not yet checked."""

    part: str  # train, val or test
    label: str
    name: str
    content: Path | bytes | np.ndarray | UserError  # a file, its bytes, uint8 pixels, or why there is none
    group: str = ""  # pictures of one group belong together, such as those of a patient


class Source(NamedTuple):
    """A source that has been opened: its files, and how it was read."""

    files: Iterable[SourceFile]
    description: str  # one line for the terminal and the report
    details: Mapping[str, Any] = MappingProxyType({})  # JSON, for the report


def class_name(label: str, labels: dict[str, str], table: Path) -> str:
    """The folder name of a label in a table, which is added to `labels` (folder name to label).

    Raises:
        UserError: another label has the same folder name.
    """
    label = unicodedata.normalize("NFC", label)
    name = safe_name(label) if label.startswith(".") or re.search(r"[/\\\0\n]", label) else label
    if labels.setdefault(name, label) != label:
        raise UserError(f"{table.name}: classes {labels[name]!r} and {label!r} have the same folder name: {name}.")
    return name


def safe_name(label: str) -> str:
    """A class name as a folder name that every operating system allows."""
    return re.sub(r'[\\/:*?"<>|\s]+', "_", label).strip("._") or "_"
