"""Make new training pictures until every class has the target count.

Reads   data/split/train
Writes  data/augmented/<class>/ (only the new pictures), reports/augment.json (per class: pictures, added)
Params  base.seed, augment
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from stages.common import hardware, seeds
from stages.common.files import whole_folder, write_json
from stages.common.params import Base, Section
from stages.common.paths import AUGMENT_REPORT, AUGMENTED, SPLIT
from stages.common.pictures import decode, labelled
from stages.common.progress import progress
from stages.common.stage import run


class Params(Section):
    """Section `augment` of params.yaml."""

    target: Literal["max", "none"] | Annotated[int, Field(ge=1)]
    preset: Literal["tutorial"]


class Preset(NamedTuple):
    """Largest changes in either direction; fill is the nearest pixel."""

    rotation: float  # degrees
    shift: float  # of width and of height
    shear: float  # degrees
    zoom: float  # of width and of height, each on its own
    flip: bool  # left to right, every other picture


# Keras' ImageDataGenerator, which the preset is named after, takes shear in degrees.
PRESETS = {"tutorial": Preset(rotation=40, shift=0.2, shear=0.2, zoom=0.2, flip=True)}


class Job(NamedTuple):
    """One new picture: which picture it is made from, and its number among those made from it."""

    source: Path
    number: int
    target: Path


def main(base: Base, params: Params) -> None:
    """Plan, draw, and count."""
    by_class: dict[str, list[Path]] = {}
    for path, label in labelled(SPLIT / "train"):
        by_class.setdefault(label, []).append(path)
    with whole_folder(AUGMENTED) as folder:
        (folder / ".keep").touch()  # DVC would warn of an empty output at every step
        jobs = [job for label, paths in by_class.items() for job in plan(label, paths, by_class, params, folder)]
        draw(jobs, PRESETS[params.preset], base.seed)
    added = Counter(job.target.parent.name for job in jobs)
    report = {label: {"pictures": len(paths), "added": added[label]} for label, paths in by_class.items()}
    write_json(AUGMENT_REPORT, report)
    print(f"augment: {len(jobs):,} new pictures in {AUGMENTED}")


def plan(label: str, paths: list[Path], by_class: dict[str, list[Path]], params: Params, folder: Path) -> Iterator[Job]:
    """The new pictures that bring a class to the target; its pictures take turns."""
    largest = max(len(others) for others in by_class.values())
    target = {"max": largest, "none": 0}.get(str(params.target), params.target)
    for missing in range(int(target) - len(paths)):
        source, number = paths[missing % len(paths)], missing // len(paths)
        yield Job(source, number, folder / label / f"{source.name}.augmented-{number}.png")


def draw(jobs: list[Job], preset: Preset, seed: int) -> None:
    """Make the pictures on all cores; what is drawn depends on content, seed and number alone."""
    if not jobs:
        return  # and no need of TensorFlow
    hardware.import_tensorflow()
    with ThreadPoolExecutor() as pool:
        for _ in progress(pool.map(lambda job: _draw(job, preset, seed), jobs), len(jobs), "augment"):
            pass


def _draw(job: Job, preset: Preset, seed: int) -> None:
    from PIL import Image

    content = hashlib.sha256(job.source.read_bytes()).hexdigest()
    image = augmented(decode(job.source), preset, seeds.stream(seed, "augment", content, job.number))
    job.target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(job.target)


def augmented(image: np.ndarray, preset: Preset, random: np.random.Generator) -> np.ndarray:
    """One new picture (uint8, same shape) by a random affine map and a single bilinear resampling."""
    from keras import ops

    matrix = affine(image.shape[0], image.shape[1], preset, random)
    coefficients = matrix.reshape(-1)[:8].astype(np.float32)
    moved = ops.image.affine_transform(
        image.astype(np.float32),
        coefficients,
        interpolation="bilinear",
        fill_mode="nearest",
        data_format="channels_last",
    )
    return np.clip(np.rint(ops.convert_to_numpy(moved)), 0, 255).astype(np.uint8)


def affine(height: int, width: int, preset: Preset, random: np.random.Generator) -> np.ndarray:
    """The 3x3 matrix that maps a new picture's (x, y, 1) to the old one's, about the centre."""
    angle, shear = np.deg2rad(random.uniform(-1, 1, 2) * (preset.rotation, preset.shear))
    right, down = random.uniform(-1, 1, 2) * preset.shift * (width, height)
    zoom_x, zoom_y = 1 + random.uniform(-1, 1, 2) * preset.zoom
    mirror = -1 if preset.flip and random.random() < 0.5 else 1
    rotate = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    slant = np.array([[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]])
    scale = np.diag([mirror * zoom_x, zoom_y, 1])
    centre = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    shift = np.array([[1, 0, right], [0, 1, down], [0, 0, 1]])
    return centre @ shift @ rotate @ slant @ scale @ np.linalg.inv(centre)


if __name__ == "__main__":
    run("augment", main)
