"""What the source of `download` holds, as far as it can be told without downloading it."""

import contextlib
import io
import json
import math
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from darkroom.commands.forecast.rehearsal import SAMPLE
from darkroom.commands.forecast.workload import Counts
from darkroom.core import outputs, paths
from darkroom.core.errors import UserError
from darkroom.core.files import read_csv, scratch_folder
from darkroom.download import sources, tfds_mirror
from darkroom.download.params import Params as Download
from darkroom.download.parts import PARTS_BY_WORD
from darkroom.download.sources.base import SourceFile
from darkroom.pipeline.params import Params

FILES = 32  # that stand for all
PIXELS_A_BYTE = 4  # of a compressed picture, roughly
LARGEST = 1024  # pixels of the side of a picture that stands for those of TensorFlow Datasets


class Contents(NamedTuple):
    """The pictures of a source."""

    counts: Counts
    sample: list[SourceFile]  # some of them


class Sampler:
    """Passes files on, and keeps some of them, any with the same probability (reservoir sampling)."""

    def __init__(self, files: Iterable[SourceFile]) -> None:
        self.files = files
        self.sample: list[SourceFile] = []

    def __iter__(self) -> Iterator[SourceFile]:
        """The files."""
        draw, seen = random.Random(0), 0  # noqa: S311
        for file in self.files:
            if not isinstance(file.content, UserError):
                seen += 1
                if len(self.sample) < FILES:
                    self.sample.append(file)
                elif (place := draw.randrange(seen)) < FILES:
                    self.sample[place] = file
            yield file


def of_source(params: Params) -> Contents | None:
    """The pictures of the source in params.yaml; None if they are only known after `download`.

    Raises:
        UserError: the source cannot be read.
    """
    settings = params.download
    if settings.source == "tfds":
        return _of_tfds(settings)
    if settings.url:
        return None  # a download of minutes should not hide behind a forecast
    hidden = io.StringIO()  # `download` shows it
    with scratch_folder(paths.RAW) as scratch, contextlib.redirect_stdout(hidden), contextlib.redirect_stderr(hidden):
        sampler = Sampler(sources.read(settings, scratch).files)
        counts: dict[str, Counter[str]] = {}
        for file in sampler:
            if not isinstance(file.content, UserError) and (label := _chosen(file.label, settings)):
                counts.setdefault(label, Counter())[file.part] += 1
        # What was unpacked from an archive is gone afterwards.
        sample = [file._replace(content=_read(file.content)) for file in sampler.sample]
    return Contents(counts, sample)


def _read(content: Any) -> Any:
    return content.read_bytes() if isinstance(content, Path) else content


def downloaded() -> Contents:
    """The pictures in data/raw.

    Raises:
        UserError: they are not there, or reports/groups.csv is damaged.
    """
    names = [row["picture"] for row in read_csv(paths.GROUPS, ("picture",))]
    counts: dict[str, Counter[str]] = {}
    for name in names:
        part, label, _ = name.split("/", 2)
        counts.setdefault(label, Counter())[part] += 1
    sampler = Sampler(SourceFile("train", "", name, path) for name in names if (path := paths.RAW / name).is_file())
    for _ in sampler:
        pass
    if not sampler.sample:
        raise outputs.missing(paths.RAW)
    return Contents(counts, sampler.sample)


def _chosen(label: str, settings: Download) -> str | None:
    """The name of a class in the project; None if it is not used."""
    if isinstance(settings.classes, dict):
        return settings.classes.get(label)
    return label if settings.classes is None or label in settings.classes else None


def _of_tfds(settings: Download) -> Contents | None:
    """The pictures of a prepared set, or of one that the mirror has, as if all classes had the same number."""
    name, _, version = str(settings.name).partition(":")
    folder = Path(settings.data_dir or "~/tensorflow_datasets").expanduser() / name / (version or "*")
    info = next(folder.parent.glob(f"{folder.name}/dataset_info.json"), None)
    described = tfds_mirror.SETS.get(name) if info is None else _prepared(info)
    if described is None:
        return None
    parts = {PARTS_BY_WORD[split]: count for split, count in described.splits.items() if split in PARTS_BY_WORD}
    parts = parts if "train" in parts else {"train": sum(described.splits.values())}
    count = Counter({part: round(number / described.classes) for part, number in parts.items()})
    used = len(settings.class_names) or described.classes
    side = min(LARGEST, round(math.sqrt(PIXELS_A_BYTE * described.size)))
    return Contents({str(number): count for number in range(used)}, _noise(side))


def _prepared(info: Path) -> tfds_mirror.Set | None:
    """A prepared set by its dataset_info.json; None if that is damaged or tells too little: `download` says why."""
    try:
        labels = info.with_name("label.labels.txt").read_text(encoding="utf-8").splitlines()
        splits = json.loads(info.read_text(encoding="utf-8"))["splits"]
        sizes = {split["name"]: sum(map(int, split["shardLengths"])) for split in splits}
        size = sum(int(split["numBytes"]) for split in splits) / sum(sizes.values())
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return None
    return tfds_mirror.Set(len(labels), sizes, size) if labels else None


def _noise(side: int) -> list[SourceFile]:
    """Pictures that take as long to decode as real ones."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (FILES, side, side, 3), np.uint8)
    return [SourceFile("train", "", f"{number}.png", picture) for number, picture in enumerate(pixels)]


def write_sample(sample: Sequence[SourceFile], folder: Path) -> float:
    """Write pictures for a rehearsal in `folder`, and return their size in bytes, on average."""
    target = folder / SAMPLE
    target.mkdir(parents=True)
    sizes = []
    for number, file in enumerate(sample):
        path = target / str(number)
        if isinstance(file.content, np.ndarray):
            Image.fromarray(file.content).save(path, "PNG")
        elif isinstance(file.content, Path):
            shutil.copyfile(file.content, path)
        elif isinstance(file.content, bytes):
            path.write_bytes(file.content)
        sizes.append(path.stat().st_size)
    return sum(sizes) / len(sizes)
