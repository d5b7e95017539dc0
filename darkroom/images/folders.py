"""Folders of labelled pictures: `<folder>/<class>/<picture>`."""

import os
from pathlib import Path
from typing import NamedTuple

from darkroom.core import outputs, reports
from darkroom.core.files import read_csv
from darkroom.core.folders import files_below
from darkroom.core.paths import AUGMENT_REPORT, AUGMENTED, LEFT_OUT, SPLIT

PARTS = ("train", "val", "test")
# What operating systems, file servers and tools leave between pictures, in lower case; hidden files are clutter, too.
_CLUTTER = {
    *("__macosx", "__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "picasa.ini", "zbthumbnail.info"),
    *("@eadir", "@tmp", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "lost+found"),
}


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name is nobody's picture: hidden, a system's own, or a file of DVC's."""
    return name.startswith(".") or name.lower() in _CLUTTER or name.endswith(".dvc")


class Picture(NamedTuple):
    """One labelled picture."""

    path: Path
    label: str


def class_folders(folder: Path) -> list[Path]:
    """The class folders below `folder`, sorted by name; hidden ones are skipped."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def labelled(folder: Path) -> list[Picture]:
    """All files in `folder/<class>/`, in canonical order (by class, then by path); hidden files are skipped.

    Raises:
        UserError: `folder` does not exist.
    """
    if not folder.is_dir():
        raise outputs.damaged(folder, "it is not a folder") if os.path.lexists(folder) else outputs.missing(folder)
    return [
        Picture(path, class_folder.name)
        for class_folder in class_folders(folder)
        for path in sorted(files_below(class_folder))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def listed(part: str) -> list[Picture]:
    """Pictures of a part in canonical order; train is without those left out, and with the augmented ones.

    Raises:
        UserError: an output of split or augment is missing, damaged or incomplete.
    """
    pictures = labelled(SPLIT / part)
    if part != "train":
        return pictures
    left_out = {SPLIT / part / row["picture"] for row in read_csv(AUGMENTED / LEFT_OUT, ("picture",))}
    used = [picture for picture in pictures if picture.path not in left_out]
    count = sum(counts["left_out"] for counts in reports.augmentation().values())
    if not len(left_out) == len(pictures) - len(used) == count:
        raise outputs.damaged(AUGMENTED / LEFT_OUT, f"{AUGMENT_REPORT} counts {count:,} pictures")
    return used + labelled(AUGMENTED)
