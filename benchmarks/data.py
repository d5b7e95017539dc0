"""Inspecting and augmenting pictures, against CleanVision's own search and Keras' ImageDataGenerator.

    python -m benchmarks.data FOLDER [--count 2000] [--rounds 3]

FOLDER contains pictures, in class folders or not. Every round measures both programs of a pair on the same pictures;
the median of the rounds counts. The factor is a program's pictures per second relative to the peer's.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from darkroom.augment import new_pictures
from darkroom.augment.transforms import PRESETS
from darkroom.download import inspection, near_duplicates
from darkroom.download.sources.base import visible_files
from darkroom.images.decode import decode


def cleanvision(paths: list[Path]) -> None:
    """CleanVision as in its manual: all cores, the issues that the download stage reports."""
    from cleanvision import Imagelab

    lab = Imagelab(filepaths=[str(path) for path in paths], verbose=False)
    lab.find_issues({name: {} for name in (*inspection.ISSUES, "near_duplicates")}, verbose=False)


def download_stage(paths: list[Path]) -> None:
    """The download stage's inspection."""
    measures = inspection.measure_files(paths)
    inspection.issues(measures)
    near_duplicates.find(measures, 0.9)


def image_data_generator(paths: list[Path]) -> None:
    """Keras' ImageDataGenerator with the tutorial's settings, and its pictures written to disk."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator
    from PIL import Image

    changes = {"width_shift_range": 0.2, "height_shift_range": 0.2, "shear_range": 0.2, "zoom_range": 0.2}
    generator = ImageDataGenerator(rotation_range=40, horizontal_flip=True, fill_mode="nearest", **changes)
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(paths):
            changed = generator.random_transform(decode(path).astype("float32"))
            Image.fromarray(changed.astype("uint8")).save(Path(folder) / f"{number}.png")


def augment_stage(paths: list[Path]) -> None:
    """One new picture from each."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = [new_pictures.Job(path, 0, Path(folder) / f"{number}.png") for number, path in enumerate(paths)]
        new_pictures.make(jobs, PRESETS["tutorial"], seed=42)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    paths = visible_files(arguments.folder)[: arguments.count]
    pairs: list[tuple[Callable[[list[Path]], None], Callable[[list[Path]], None]]] = [
        (cleanvision, download_stage),
        (image_data_generator, augment_stage),
    ]
    seconds: dict[str, list[float]] = {}
    for program in [program for pair in pairs for program in pair * arguments.rounds]:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            started = time.perf_counter()
            program(paths)
            seconds.setdefault(program.__name__, []).append(time.perf_counter() - started)
    print(f"{len(paths):,} pictures of {arguments.folder}, the median of {arguments.rounds} rounds")
    for peer, ours in pairs:
        median = {program: statistics.median(seconds[program.__name__]) for program in (peer, ours)}
        for program in (peer, ours):
            rate, ratio = len(paths) / median[program], median[peer] / median[program]
            spread = ", ".join(f"{value:.1f}" for value in sorted(seconds[program.__name__]))
            print(f"{program.__name__:22} {rate:8,.0f} a second   x {ratio:.2f}   ({spread} s)")


if __name__ == "__main__":
    main()
