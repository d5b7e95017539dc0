"""Is a file a good picture? Checked on all cores; the good ones are written where they belong."""

import hashlib
import io
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from darkroom.core.errors import UserError
from darkroom.download.sources import Found
from darkroom.images.decode import decode, named_wrongly


class Bounds(NamedTuple):
    """What a good picture is."""

    min_side: int  # pixels
    max_pixels: float


class Job(NamedTuple):
    """A file to check, and where it goes if it is good."""

    found: Found
    target: Path
    bounds: Bounds
    seed: int


class Checked(NamedTuple):
    """What is known of a file: why it is bad, or what it is."""

    target: Path
    part: str
    label: str
    reason: str | None
    pixels: bytes = b""  # SHA-256 of the decoded picture
    rank: bytes = b""  # a random order that depends on the file's bytes and the seed alone
    named_wrongly: bool = False


def jobs(found: Iterable[Found], folder: Path, bounds: Bounds, seed: int) -> Iterator[Job]:
    """Where each file goes: `folder/<part>/<class>/<name>`. A file whose place is taken is bad."""
    taken = set()
    for each in found:
        item = each._replace(label=_utf8(each.label), name=_utf8(each.name))
        target = wanted = folder / item.part / item.label / item.name
        number = 1
        while target in taken:
            number += 1
            target = wanted.with_name(f"{wanted.name} (another, {number})")
        if target != wanted:
            item = item._replace(content=UserError("another file has this name"))
        taken.add(target)
        yield Job(item, target, bounds, seed)


def _utf8(name: str) -> str:
    """A name that can be written into a report, where the disk's is of another encoding."""
    return os.fsencode(name).decode("utf-8", "replace")


def check(job: Job) -> Checked:
    """Decode a file whole; write it to its place if it is good."""
    warnings.filterwarnings("ignore", module="PIL")  # of damaged side information, whose pictures are good
    try:
        data = _bytes(job.found.content, 8 * job.bounds.max_pixels + 2**24)
        picture = decode(data, job.bounds.min_side, job.bounds.max_pixels)
    except UserError as reason:
        return Checked(job.target, job.found.part, job.found.label, str(reason))
    if len(os.fsencode(job.target.name)) > 255:
        return Checked(job.target, job.found.part, job.found.label, "its name is too long")
    job.target.parent.mkdir(parents=True, exist_ok=True)
    job.target.write_bytes(data)
    return Checked(
        job.target,
        job.found.part,
        job.found.label,
        None,
        hashlib.sha256(str(picture.shape).encode() + picture.tobytes()).digest(),
        hashlib.sha256(b"%d/" % job.seed + data).digest(),
        named_wrongly(job.target.name, data),
    )


def _bytes(content: Path | bytes | np.ndarray | UserError, most: float) -> bytes:
    """The picture file; bare pixels become a PNG."""
    if isinstance(content, UserError):
        raise content
    if isinstance(content, np.ndarray):
        from PIL import Image

        stream = io.BytesIO()
        Image.fromarray(content).save(stream, "PNG")
        return stream.getvalue()
    if isinstance(content, Path):
        if not content.is_file():
            raise UserError("no ordinary file" if content.exists() else "a link to nothing")
        if content.stat().st_size > most:
            raise UserError(f"{content.stat().st_size:,} bytes are more than the largest picture may have")
        try:
            content = content.read_bytes()
        except OSError as error:
            raise UserError(f"cannot be read ({error.strerror})") from None
    if not content:
        raise UserError("empty file")
    return content


def copies(good: list[Checked]) -> tuple[dict[Path, str], dict[Path, str]]:
    """Pictures to leave out because others have the same pixels, with the reason: `(copies, with two labels)`.

    Of copies in one class the first in order stays. Of a picture that is in two classes none stays: which label is
    right can't be known.
    """
    same: dict[bytes, list[Checked]] = {}
    for item in good:
        same.setdefault(item.pixels, []).append(item)
    twins, two_labels = {}, {}
    for unsorted in same.values():
        first, *others = items = sorted(unsorted, key=lambda item: item.target)
        for item in items:
            elsewhere = [other for other in items if other.label != item.label]
            if elsewhere:
                two_labels[item.target] = f"the same picture as {_name(elsewhere[0])}: which label is right?"
            elif item in others:
                twins[item.target] = f"the same picture as {_name(first)}"
    return twins, two_labels


def beyond_limit(items: list[Checked], limit: int | None) -> set[Path]:
    """All but the first `limit` of each class, in the order of their ranks."""
    by_class: dict[str, list[Checked]] = {}
    for item in sorted(items, key=lambda item: (item.rank, item.target)):
        by_class.setdefault(item.label, []).append(item)
    return {item.target for ranked in by_class.values() for item in ranked[limit if limit else len(ranked) :]}


def _name(item: Checked) -> str:
    return "/".join(item.target.parts[-3:])
