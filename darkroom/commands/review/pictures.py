"""The pictures that can be reviewed: the labelled ones of the last run, and those without a label."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from darkroom.core.files import read_csv
from darkroom.core.paths import GROUPS, SPLIT, SPLIT_REPORT
from darkroom.download import decisions
from darkroom.images.decode import decode

MAX_PIXELS = 100_000_000
LARGEST = 1600  # pixels of the longer side of a picture on the page


class Picture(NamedTuple):
    """A picture, and what is known of it."""

    md5: str  # of its file
    path: Path
    label: str  # empty without one
    split: str  # train, val, test or unlabelled
    group: str = ""  # of near-duplicates


def labelled() -> list[Picture]:
    """The pictures of data/split, as reports/split.csv lists them."""
    groups = {row["md5"]: row["group"] for row in read_csv(GROUPS, ("md5", "group"))}
    rows = read_csv(SPLIT_REPORT, ("picture", "class", "split", "md5"))
    return [
        Picture(row["md5"], SPLIT / row["picture"], row["class"], row["split"], groups.get(row["md5"], ""))
        for row in rows
    ]


def unlabelled(folder: Path, others: Sequence[Picture]) -> list[Picture]:
    """The files of a folder that are not among the others."""
    taken = {picture.md5 for picture in others}
    pictures: dict[str, Picture] = {}
    for md5, path in decisions.unlabelled(folder):
        if md5 not in taken:
            pictures.setdefault(md5, Picture(md5, path, "", "unlabelled"))
    return list(pictures.values())


def png(path: Path, side: int = LARGEST) -> bytes:
    """A picture as every browser shows it, upright, and with no more pixels than asked for.

    Raises:
        UserError: it cannot be decoded.
    """
    from PIL import Image

    image = Image.fromarray(decode(path, max_pixels=MAX_PIXELS))
    image.thumbnail((side, side))
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return stream.getvalue()
