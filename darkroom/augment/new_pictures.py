"""New pictures: planned for each class, made on all cores."""

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from darkroom.augment.transforms import Transforms, change
from darkroom.core import runtime, seeds
from darkroom.core.hashing import sha256
from darkroom.core.parallel import cluster, on_all_threads
from darkroom.core.terminal import progress
from darkroom.images.decode import decode

CHUNK = 32  # pictures that a thread takes at a time
PIXELS = 2**20  # of the pictures that are transformed together
MAX_NAME = 220  # bytes, of the 255 that file systems allow


class Job(NamedTuple):
    """A new picture: its source, its number among those made from that source, and its path."""

    source: Path
    number: int
    target: Path


def surplus(paths: Sequence[Path], target: int, seed: int) -> list[Path]:
    """The pictures of a class over the target, chosen by their content and the seed."""
    return sorted(sorted(paths, key=lambda path: seeds.derive(seed, "undersample", sha256(path)))[target:])


def plan(paths: Sequence[Path], target: int, folder: Path) -> Iterator[Job]:
    """The new pictures that bring a class to the target; its pictures take turns as sources."""
    for index in range(target - len(paths)):
        source, number = paths[index % len(paths)], index // len(paths)
        name = seeds.derive(0, source.name) if len(os.fsencode(source.name)) > MAX_NAME else source.name
        yield Job(source, number, folder / f"{name}.augmented-{number}.png")


def make(jobs: Sequence[Job], transforms: Transforms, seed: int) -> None:
    """Make the pictures on all cores; the parameters depend only on content, seed and number."""
    if not jobs:
        return  # TensorFlow is not needed
    if not cluster():
        runtime.import_tensorflow()  # once, before threads need it
    chunks = [jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK)]
    finished = on_all_threads(functools.partial(_make_chunk, transforms=transforms, seed=seed), chunks)
    for _ in progress(finished, len(jobs), "augment", step=CHUNK):
        pass


def _make_chunk(jobs: Sequence[Job], transforms: Transforms, seed: int) -> None:
    """Make new pictures; those of one size are transformed together, as many as `PIXELS` allows."""
    runtime.import_tensorflow()
    batches: dict[tuple[int, ...], list[tuple[Job, np.ndarray]]] = {}
    for job in jobs:
        image = decode(job.source)
        batch = batches.setdefault(image.shape, [])
        batch.append((job, image))
        if len(batch) * image.shape[0] * image.shape[1] >= PIXELS:
            _make_batch(batches.pop(image.shape), transforms, seed)
    for batch in batches.values():
        _make_batch(batch, transforms, seed)


def _make_batch(batch: Sequence[tuple[Job, np.ndarray]], transforms: Transforms, seed: int) -> None:
    """Transform and write pictures of one size."""
    from PIL import Image

    images = np.stack([image for _, image in batch])
    names = [(sha256(job.source), job.number) for job, _ in batch]
    for (job, _), pixels in zip(batch, change(images, transforms, seed, names), strict=True):
        job.target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(job.target, compress_level=1)  # a third of the time for a tenth more bytes
