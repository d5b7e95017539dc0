"""Validation of single files on all cores; good pictures are written to their place."""

import hashlib
import io
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from darkroom.core.errors import UserError, is_of_the_machine
from darkroom.download.sources.base import SourceFile
from darkroom.images.decode import decode, has_wrong_suffix


class Bounds(NamedTuple):
    """The sizes of a good picture."""

    min_side: int  # pixels
    max_pixels: float


class Job(NamedTuple):
    """A file to check, and its place if it is good."""

    file: SourceFile
    target: Path
    bounds: Bounds
    seed: int


class Checked(NamedTuple):
    """The result for one file: why it is bad, or what it is."""

    target: Path
    part: str
    label: str
    reason: str | None
    pixels: bytes = b""  # SHA-256 of the decoded picture
    rank: bytes = b""  # a random order that depends on the file's bytes and the seed alone
    wrong_suffix: bool = False


def jobs(files: Iterable[SourceFile], folder: Path, bounds: Bounds, seed: int) -> Iterator[Job]:
    """The place of each file: `folder/<part>/<class>/<name>`. A file whose place is taken is bad."""
    taken = set()
    for item in files:
        file = item._replace(label=_utf8(item.label), name=_utf8(item.name))
        target = place = folder / file.part / file.label / file.name
        number = 1
        while target in taken:
            number += 1
            target = place.with_name(f"{place.name} (another, {number})")
        if target != place:
            file = file._replace(content=UserError("another file has this name"))
        taken.add(target)
        yield Job(file, target, bounds, seed)


def _utf8(name: str) -> str:
    """A file name as text that can be written to a report, even if its bytes on disk are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def check(job: Job) -> Checked:
    """Decode a file completely; write it to its place if it is good."""
    warnings.filterwarnings("ignore", module="PIL")  # about damaged metadata of good pictures
    part, label = job.file.part, job.file.label
    try:
        data = _bytes(job.file.content, 8 * job.bounds.max_pixels + 2**24)
        picture = decode(data, job.bounds.min_side, job.bounds.max_pixels)
    except UserError as reason:
        return Checked(job.target, part, label, str(reason))
    if len(os.fsencode(job.target.name)) > 255:
        return Checked(job.target, part, label, "its name is too long")
    job.target.parent.mkdir(parents=True, exist_ok=True)
    job.target.write_bytes(data)
    return Checked(
        job.target,
        part,
        label,
        None,
        hashlib.sha256(str(picture.shape).encode() + picture.tobytes()).digest(),
        hashlib.sha256(b"%d/" % job.seed + data).digest(),
        has_wrong_suffix(job.target.name, data),
    )


def _bytes(content: Path | bytes | np.ndarray | UserError, max_bytes: float) -> bytes:
    """The picture file; an array of pixels becomes a PNG."""
    if isinstance(content, UserError):
        raise content
    if isinstance(content, np.ndarray):
        from PIL import Image

        stream = io.BytesIO()
        Image.fromarray(content).save(stream, "PNG")
        return stream.getvalue()
    if isinstance(content, Path):
        try:
            if not content.is_file():
                raise UserError("not a regular file" if content.exists() else "a link to nothing")
            if content.stat().st_size > max_bytes:
                raise UserError(f"{content.stat().st_size:,} bytes are more than the largest picture may have")
            content = content.read_bytes()
        except OSError as error:
            if is_of_the_machine(error):
                raise
            raise UserError(f"cannot be read ({error.strerror})") from None
    if not content:
        raise UserError("empty file")
    return content
