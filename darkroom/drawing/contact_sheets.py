"""Contact sheets: many thumbnails in one picture. Equal pictures give equal bytes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from darkroom.images.decode import decode

T = TypeVar("T")
THUMBNAIL = 96  # pixels
GAP = 4
COLUMNS = 10


def contact_sheet(rows: Sequence[Sequence[Path]], titles: Sequence[str], target: Path) -> None:
    """Write rows of thumbnails as a JPEG file, a title above each row (an empty one takes no space)."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=13)
    cell = THUMBNAIL + GAP
    heights = [cell + (18 if title else 0) for title in titles]
    width = GAP + cell * max((len(row) for row in rows), default=1)
    sheet = Image.new("RGB", (max(width, 300), GAP + sum(heights)), "white")
    pen = ImageDraw.Draw(sheet)
    top = GAP
    for row, title, height in zip(rows, titles, heights, strict=True):
        pen.text((GAP, top), title, "black", font)
        for column, path in enumerate(row):
            picture = Image.fromarray(decode(path))
            scale = THUMBNAIL / max(picture.size)
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            resampling = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR
            sheet.paste(picture.resize(size, resampling, reducing_gap=2.0), (GAP + column * cell, top + height - cell))
        top += height
    sheet.save(target, "JPEG", quality=88)


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items, evenly spaced."""
    return [items[index] for index in np.unique(np.linspace(0, len(items) - 1, count).astype(int))] if items else []
