"""Looking at pictures and making new ones, against CleanVision's own search and Keras' ImageDataGenerator.

    python -m benchmarks.data FOLDER [--count 2000] [--rounds 3]

FOLDER holds pictures, in class folders or not. Every round measures both ways of a pair on the same pictures; the
middle of the rounds counts. The factor says how many times as many pictures a second a way does as the peer.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from darkroom.augment.transforms import PRESETS
from darkroom.download import inspection
from darkroom.download.sources import visible
from darkroom.images.decode import decode
from stages import augment


def cleanvision(paths: list[Path]) -> None:
    """CleanVision as its manual has it: all cores, the issues that the download stage looks for."""
    from cleanvision import Imagelab

    lab = Imagelab(filepaths=[str(path) for path in paths], verbose=False)
    lab.find_issues({name: {} for name in (*inspection.ISSUES, "near_duplicates")}, verbose=False)


def download_stage(paths: list[Path]) -> None:
    """What the download stage does after the pictures are in their folders."""
    looks = inspection.look(paths)
    inspection.issues(looks)
    inspection.near_duplicates(looks, 0.9)


def image_data_generator(paths: list[Path]) -> None:
    """Keras' ImageDataGenerator with the tutorial's settings, writing what it makes."""
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
        jobs = [augment.Job(path, 0, Path(folder) / f"{number}.png") for number, path in enumerate(paths)]
        augment.make(jobs, PRESETS["tutorial"], seed=42)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    paths = visible(given.folder)[: given.count]
    pairs: list[tuple[Callable[[list[Path]], None], Callable[[list[Path]], None]]] = [
        (cleanvision, download_stage),
        (image_data_generator, augment_stage),
    ]
    seconds: dict[str, list[float]] = {}
    for way in [way for pair in pairs for way in pair * given.rounds]:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            started = time.perf_counter()
            way(paths)
            seconds.setdefault(way.__name__, []).append(time.perf_counter() - started)
    print(f"{len(paths):,} pictures of {given.folder}, the middle of {given.rounds} rounds")
    for peer, ours in pairs:
        middle = {way: statistics.median(seconds[way.__name__]) for way in (peer, ours)}
        for way in (peer, ours):
            rate, ratio = len(paths) / middle[way], middle[peer] / middle[way]
            spread = ", ".join(f"{one:.1f}" for one in sorted(seconds[way.__name__]))
            print(f"{way.__name__:22} {rate:8,.0f} a second   x {ratio:.2f}   ({spread} s)")


if __name__ == "__main__":
    main()
