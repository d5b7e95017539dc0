"""Checking and augmenting pictures, against the tools that people use for it.

    python -m benchmarks.data FOLDER [--count 2000] [--side 224] [--rounds 3] [--json FILE]

FOLDER contains pictures, in class folders or not. Checks: what `download` looks for (dark, blurry, odd-sized pictures
and near-duplicates), against CleanVision's own search for the same, and imagededup's for near-duplicates alone, by
perceptual hashes that differ in as many bits. Both use all cores. fastdup is not compared: its licence does not permit
commercial use, and it needs NumPy 1 and a Pillow of 2024.

Augmentation: one new picture from each, by the tutorials' transforms, from a JPEG file to a PNG file. The pictures are
scaled to --side times --side first (0: they are taken as they are). albumentations runs as in its manual, in one
process in which OpenCV may use all cores, and in a process for each core, started beforehand, with one thread each.
Every program decodes and writes with its own library and that library's usual compression (Darkroom: zlib's level 1),
so the sizes of the files differ: the line below the table has them.
"""

import contextlib
import functools
import io
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import rounds
from benchmarks.rounds import Figures, Way
from darkroom.augment import new_pictures
from darkroom.augment.transforms import PRESETS
from darkroom.core.folders import files_below
from darkroom.core.parallel import cores
from darkroom.download import inspection, near_duplicates
from darkroom.images.decode import decode

TUTORIAL = PRESETS["tutorial"]
SAMPLE = 100  # new pictures whose size is measured
Write = Callable[[list[Path], Path], None]  # a new picture from each, in a folder


def download_stage(paths: list[Path]) -> None:
    """The download stage's inspection."""
    measures = inspection.measure_files(paths)
    inspection.issues(measures)
    near_duplicates.find(measures, 0.9)


def cleanvision(paths: list[Path]) -> None:
    """CleanVision as in its manual: all cores, the issues that the download stage reports."""
    from cleanvision import Imagelab

    lab = Imagelab(filepaths=[str(path) for path in paths], verbose=False)
    lab.find_issues({name: {} for name in (*inspection.ISSUES, "near_duplicates")}, verbose=False)


def imagededup(folder: Path) -> None:
    """The perceptual hash of imagededup on all cores, and its search for pairs."""
    from imagededup.methods import PHash

    method = PHash(verbose=False)
    hashes = method.encode_images(folder, num_enc_workers=cores())
    most = near_duplicates.MAX_HASH_DISTANCE
    method.find_duplicates(encoding_map=hashes, max_distance_threshold=most, num_dist_workers=cores())


def augment_stage(paths: list[Path], folder: Path) -> None:
    """Darkroom's stage."""
    jobs = [new_pictures.Job(path, 0, folder / f"{number}.png") for number, path in enumerate(paths)]
    new_pictures.make(jobs, TUTORIAL, seed=42)


def image_data_generator(paths: list[Path], folder: Path) -> None:
    """Keras' ImageDataGenerator with the tutorial's settings."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator
    from PIL import Image

    changes = {"width_shift_range": 0.2, "height_shift_range": 0.2, "shear_range": 0.2, "zoom_range": 0.2}
    generator = ImageDataGenerator(rotation_range=40, horizontal_flip=True, fill_mode="nearest", **changes)
    for number, path in enumerate(paths):
        changed = generator.random_transform(decode(path).astype("float32"))
        Image.fromarray(changed.astype("uint8")).save(folder / f"{number}.png")


def albumentations(paths: list[Path], folder: Path) -> None:
    """The same transforms by albumentations; OpenCV decodes and writes."""
    import cv2

    change = pipeline()
    for path in paths:
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        changed = change(image=pixels)["image"]
        cv2.imwrite(str(folder / f"{path.stem}.png"), cv2.cvtColor(changed, cv2.COLOR_RGB2BGR))


@functools.cache
def pipeline() -> Any:
    """The tutorials' transforms: one affine map, bilinear, continued at the border by the nearest pixel."""
    import albumentations
    import cv2

    zoom = (1 - TUTORIAL.zoom, 1 + TUTORIAL.zoom)
    affine = albumentations.Affine(
        rotate=(-TUTORIAL.rotation, TUTORIAL.rotation),
        translate_percent={
            "x": (-TUTORIAL.width_shift, TUTORIAL.width_shift),
            "y": (-TUTORIAL.height_shift, TUTORIAL.height_shift),
        },
        shear={"x": (-TUTORIAL.shear, TUTORIAL.shear), "y": (0, 0)},
        scale={"x": zoom, "y": zoom},
        interpolation=cv2.INTER_LINEAR,
        border_mode=cv2.BORDER_REPLICATE,
        p=1,
    )
    return albumentations.Compose([affine, albumentations.HorizontalFlip(p=0.5)])


def one_thread() -> None:
    """Keep OpenCV to one thread, where each core has a process."""
    import cv2

    cv2.setNumThreads(0)


def in_processes(pool: ProcessPoolExecutor, paths: list[Path], folder: Path) -> None:
    """The same with a share of the pictures for each process."""
    shares = [paths[start :: cores()] for start in range(cores())]
    list(pool.map(albumentations, shares, [folder] * cores()))


def checks(paths: list[Path], scratch: Path) -> Iterator[tuple[str, Way]]:
    """The ways to check pictures."""
    yield "Darkroom's checks", functools.partial(download_stage, paths)
    yield "CleanVision", functools.partial(cleanvision, paths)
    if rounds.installed("imagededup", "imagededup"):
        for number, path in enumerate(paths):  # it takes a folder without folders
            (scratch / f"{number}{path.suffix}").symlink_to(path.absolute())
        yield "imagededup, near-duplicates alone", functools.partial(imagededup, scratch)


def augmentation(paths: list[Path], pool: ProcessPoolExecutor) -> Iterator[tuple[str, Callable[[], float]]]:
    """The ways to augment pictures."""
    ways: dict[str, Write] = {"Darkroom's new pictures": augment_stage, "ImageDataGenerator": image_data_generator}
    if rounds.installed("albumentations", "albumentations"):
        ways["albumentations, one process"] = albumentations
        ways[f"albumentations, {cores()} processes"] = functools.partial(in_processes, pool)
    for name, way in ways.items():
        yield name, functools.partial(written, way, paths)


def written(way: Write, paths: list[Path]) -> float:
    """Write new pictures to a temporary folder; their mean size in KB."""
    with tempfile.TemporaryDirectory() as folder:
        way(paths, Path(folder))
        return sum(path.stat().st_size for path in Path(folder).iterdir()) / len(paths) / 1000


def scaled(paths: list[Path], side: int, folder: Path) -> list[Path]:
    """The pictures, scaled to a square and saved as JPEG."""
    from PIL import Image

    targets = [folder / f"{number}.jpg" for number in range(len(paths))]
    for path, target in zip(paths, targets, strict=True):
        Image.fromarray(decode(path)).resize((side, side)).save(target, quality=95)
    return targets


def measured(title: str, ways: Mapping[str, Way], count: int, number: int) -> Figures:
    """Print a table of pictures per second; the ratio is to Darkroom."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        figures = rounds.rates(rounds.measure(ways, number), count)
    rounds.table(title, "pictures/s", figures)
    return figures


def main() -> None:
    """Measure, and print two tables."""
    parser = rounds.parser(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--side", type=int, default=224)
    arguments = parser.parse_args()
    paths = rounds.spread(sorted(files_below(arguments.folder)), arguments.count)
    print(f"{len(paths):,} pictures of {arguments.folder}, median of {arguments.rounds} rounds\n")
    with tempfile.TemporaryDirectory() as links, tempfile.TemporaryDirectory() as folder:
        figures = measured("checks", dict(checks(paths, Path(links))), len(paths), arguments.rounds)
        sources = scaled(paths, arguments.side, Path(folder)) if arguments.side else paths
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(cores(), context, one_thread) as pool:
            ways = dict(augmentation(sources, pool))
            figures |= measured("augmentation", ways, len(paths), arguments.rounds)
            few = sources[:SAMPLE]
            sizes = (f"{name} {way():.1f}" for name, way in augmentation(few, pool))
            print(f"KB of a new picture, the mean of {len(few)}: {', '.join(sizes)}")
    rounds.save(arguments.json, figures)


if __name__ == "__main__":
    main()
