"""Make new training pictures until every class has the target count.

Reads   data/split/train
Writes  data/augmented/<class>/ (only the new pictures), data/augmented/.left_out.csv (pictures of data/split/train that
        are not used), reports/augment.json (per class: pictures, added, left out), reports/augment.jpg (before, after)
Params  base.seed, augment
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from darkroom.augment.params import Params
from darkroom.augment.transforms import Transforms, change
from darkroom.core import runtime, seeds
from darkroom.core.files import whole_file, whole_folder, write_csv, write_json
from darkroom.core.hashing import sha256
from darkroom.core.parallel import cores
from darkroom.core.params import Base
from darkroom.core.paths import AUGMENT_REPORT, AUGMENT_SHEET, AUGMENTED, LEFT_OUT, SPLIT
from darkroom.core.terminal import progress
from darkroom.drawing import contact_sheets
from darkroom.images.decode import decode
from darkroom.images.folders import labelled
from darkroom.pipeline.script import run

CHUNK = 32  # pictures that a thread takes at a time
PIXELS = 2**20  # of the pictures that go through the transforms together


class Job(NamedTuple):
    """One new picture: which picture it is made from, its number among those made from it, and where it goes."""

    source: Path
    number: int
    target: Path


def main(base: Base, params: Params) -> None:
    """Plan, draw, and count."""
    by_class: dict[str, list[Path]] = {}
    for path, label in labelled(SPLIT / "train"):
        by_class.setdefault(label, []).append(path)
    largest = max(map(len, by_class.values()))
    target = {"max": largest, "none": 0}.get(str(params.target), params.target)
    with whole_folder(AUGMENTED) as folder:
        left_out = {
            label: beyond(paths, int(target), base.seed) if params.undersample and target else []
            for label, paths in by_class.items()
        }
        names = [path.relative_to(SPLIT / "train").as_posix() for paths in left_out.values() for path in paths]
        write_csv(folder / LEFT_OUT, ("picture",), [[name] for name in names])
        jobs = {label: list(plan(paths, int(target), folder / label)) for label, paths in by_class.items()}
        make([job for planned in jobs.values() for job in planned], params.transforms(), base.seed)
        sheet(jobs)
    report = {
        label: {"pictures": len(paths), "added": len(jobs[label]), "left_out": len(left_out[label])}
        for label, paths in by_class.items()
    }
    write_json(AUGMENT_REPORT, report)
    print(f"augment: {sum(map(len, jobs.values())):,} new pictures in {AUGMENTED}, {len(names):,} left out")


def beyond(paths: list[Path], target: int, seed: int) -> list[Path]:
    """The pictures of a class that are too many; which ones depends on their content and the seed."""
    return sorted(sorted(paths, key=lambda path: seeds.derive(seed, "undersample", sha256(path)))[target:])


def plan(paths: list[Path], target: int, folder: Path) -> Iterator[Job]:
    """The new pictures that bring a class to the target; its pictures take turns."""
    for missing in range(target - len(paths)):
        source, number = paths[missing % len(paths)], missing // len(paths)
        long = len(os.fsencode(source.name)) > 220  # file systems allow 255
        name = seeds.derive(0, source.name) if long else source.name
        yield Job(source, number, folder / f"{name}.augmented-{number}.png")


def make(jobs: list[Job], transforms: Transforms, seed: int) -> None:
    """Make the pictures on all cores; what is drawn depends on content, seed and number alone."""
    if not jobs:
        return  # and no need of TensorFlow
    runtime.import_tensorflow()
    chunks = [jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK)]
    with ThreadPoolExecutor(cores()) as pool:
        done = pool.map(lambda chunk: _make(chunk, transforms, seed), chunks)
        for _ in progress(done, len(jobs), "augment", each=CHUNK):
            pass


def _make(jobs: list[Job], transforms: Transforms, seed: int) -> None:
    """Make new pictures; those of one size go through the transforms together, as many as memory has room for."""
    waiting: dict[tuple[int, ...], list[tuple[Job, np.ndarray]]] = {}
    for job in jobs:
        image = decode(job.source)
        together = waiting.setdefault(image.shape, [])
        together.append((job, image))
        if len(together) * image.shape[0] * image.shape[1] >= PIXELS:
            _change(waiting.pop(image.shape), transforms, seed)
    for together in waiting.values():
        _change(together, transforms, seed)


def _change(together: list[tuple[Job, np.ndarray]], transforms: Transforms, seed: int) -> None:
    """Change and write pictures of one size."""
    from PIL import Image

    images = np.stack([image for _, image in together])
    names = [(sha256(job.source), job.number) for job, _ in together]
    for (job, _), changed in zip(together, change(images, transforms, seed, names), strict=True):
        job.target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(changed).save(job.target, compress_level=1)  # a third of the time, a tenth more bytes


def sheet(jobs: dict[str, list[Job]], pairs: int = 5, most: int = 100) -> None:
    """A row for each class that was added to, or for some: pictures, each with one that was made from it."""
    labels = contact_sheets.spread([label for label, planned in jobs.items() if planned], most)
    shown = {label: contact_sheets.spread(jobs[label], pairs) for label in labels}
    rows = [[path for job in chosen for path in (job.source, job.target)] for chosen in shown.values()]
    titles = [f"{label}: before, after; before, after…" for label in shown]
    with whole_file(AUGMENT_SHEET) as partial:
        contact_sheets.contact_sheet(rows or [[]], titles or ["No new pictures."], partial)


if __name__ == "__main__":
    run("augment", main)
