"""Validation of single files on all cores; good pictures are measured, and written to their place."""

import hashlib
import io
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from darkroom.core.errors import UserError, is_of_the_machine
from darkroom.core.terminal import replaced
from darkroom.download import inspection
from darkroom.download.sources.base import SourceFile
from darkroom.images.decode import decode, has_wrong_suffix


class Bounds(NamedTuple):
    """The sizes of a good picture."""

    min_side: int  # pixels
    max_pixels: float


class Job(NamedTuple):
    """A file to check, and its place if it is good."""

    file: SourceFile
    name: str  # train/cat/1.jpg
    folder: Path | None  # in which the places are; None: nothing is written
    bounds: Bounds
    seed: int


class Checked(NamedTuple):
    """The result for one file: why it is bad, or what it is."""

    name: str
    part: str
    label: str
    reason: str | None
    pixels: bytes = b""  # SHA-256 of the decoded picture
    rank: bytes = b""  # a random order that depends on the file's bytes and the seed alone
    wrong_suffix: bool = False
    md5: str = ""  # of the file
    measures: bytes = b""  # a row of inspection.MEASURES
    group: str = ""  # in the source
    decision: str = ""  # what people decided on it, as in darkroom.download.decisions
    source: str = ""  # its name by the label of the source, where people decided on another

    @property
    def place(self) -> tuple[str, ...]:
        """A key by which files have the order of their paths."""
        return tuple(self.name.split("/"))

    @property
    def source_name(self) -> str:
        """The name by the label of the source, whatever people decided."""
        return self.source or self.name


def jobs(files: Iterable[SourceFile], folder: Path | None, bounds: Bounds, seed: int) -> Iterator[Job]:
    """The place of each file: `folder/<part>/<class>/<name>`. A file whose place is taken is bad."""
    taken = set()
    labels: dict[str, str] = {}  # by class
    for item in files:
        label = replaced(_utf8(item.label), "_")  # such as a line break, which would end a line of labels.txt
        if (other := labels.setdefault(label, item.label)) != item.label:
            raise UserError(f"classes {other!r} and {item.label!r} would have the same name, {label}: rename one.")
        file = item._replace(label=label, name=_utf8(item.name))
        name = place = "/".join(filter(None, (file.part, file.label, file.name)))
        number = 1
        while name in taken:
            number += 1
            name = f"{place} (another, {number})"
        if name != place:
            file = file._replace(content=UserError("another file has this name"))
        taken.add(name)
        yield Job(file, name, folder, bounds, seed)


def _utf8(name: str) -> str:
    """A file name as text that can be written to a report, even if its bytes on disk are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def check(job: Job) -> Checked:
    """Decode a file completely; measure it, and write it to its place if it is good.

    It is measured although it may turn out to be a copy or over the limit: decoding it again later would cost more.
    """
    warnings.filterwarnings("ignore", module="PIL")  # about damaged metadata of good pictures
    part, label, content = job.file.part, job.file.label, job.file.content
    try:
        data = _bytes(content, 8 * job.bounds.max_pixels + 2**24)
        # Pixels that the source has are not decoded again, unless they are out of bounds, for the reason.
        known = isinstance(content, np.ndarray) and _within(job.bounds, content)
        pixels = np.asarray(content) if known else decode(data, job.bounds.min_side, job.bounds.max_pixels)
    except UserError as reason:
        return Checked(job.name, part, label, str(reason))
    if len(os.fsencode(Path(job.name).name)) > 255:
        return Checked(job.name, part, label, "its name is too long")
    if job.folder:
        _write(job.folder / job.name, data)
    return Checked(
        job.name,
        part,
        label,
        None,
        _digest(pixels),
        hashlib.sha256(b"%d/" % job.seed + data).digest(),
        not known and has_wrong_suffix(job.name, data),
        hashlib.md5(data, usedforsecurity=False).hexdigest(),
        inspection.measure(pixels),
        job.file.group,
    )


def _within(bounds: Bounds, pixels: np.ndarray) -> bool:
    height, width = pixels.shape[:2]
    return bounds.min_side <= min(height, width) and height * width <= bounds.max_pixels


def _digest(pixels: np.ndarray) -> bytes:
    """The SHA-256 of a picture as RGB."""
    colours = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)
    return hashlib.sha256(str(colours.shape).encode() + colours.tobytes()).digest()


def _write(target: Path, data: bytes) -> None:
    try:
        target.write_bytes(data)
    except FileNotFoundError:  # its folder; there are few, and to ask for each file takes long
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


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
