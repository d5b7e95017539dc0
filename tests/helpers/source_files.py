"""Files of every kind of source, made from real pictures."""

import csv
import gzip
import shutil
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.hashing import sha256
from darkroom.download import sources
from darkroom.download.sources.base import SourceFile
from darkroom.images.decode import decode
from tests.helpers.pictures import download_params


def files_of(source: str, path: Path | None = None, scratch: Path | None = None, **changes: Any) -> list[SourceFile]:
    """All that a source yields."""
    place = {"path": str(path)} if path else {}
    return list(sources.read(download_params(source=source, **place, **changes), scratch or Path("scratch")).files)


def names_of(files: Iterable[SourceFile]) -> list[tuple[str, str, str]]:
    """`(part, label, name)` of each file."""
    return [(file.part, file.label, file.name) for file in files]


def write_folder(target: Path, pictures: Mapping[str, Sequence[Path]]) -> Path:
    """A folder of pictures for each class; the order of their names mixes the classes."""
    for label, paths in pictures.items():
        (target / label).mkdir(parents=True)
        for path in paths:
            shutil.copy(path, target / label / f"{sha256(path)[:12]}.png")
    return target


def rows_of(pictures: Mapping[str, Sequence[Path]]) -> Iterator[tuple[int, np.ndarray]]:
    """`(class number, grey pixels)` in an order that mixes the classes."""
    pairs = [(number, path) for number, paths in enumerate(pictures.values()) for path in paths]
    for row in np.random.default_rng(1).permutation(len(pairs)):
        yield pairs[row][0], decode(pairs[row][1])[..., 0]


def write_csv(path: Path, rows: Iterable[tuple[Any, np.ndarray]], header: int = 0) -> None:
    """A CSV file of labels and pixels; `header` is the number of pixel columns in the header, 0 for none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        if header:
            writer.writerow(["label", *range(header)])
        writer.writerows([label, *pixels.reshape(-1)] for label, pixels in rows)


def write_idx(path: Path, array: np.ndarray) -> None:
    """An IDX file of bytes, compressed if its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_idx_pair(folder: Path, stem: str, rows: Iterable[tuple[int, np.ndarray]], ending: str = ".gz") -> None:
    """The pictures and the labels of `rows`, as MNIST names the files."""
    labels, pixels = zip(*rows, strict=True)
    write_idx(folder / f"{stem}-images-idx3-ubyte{ending}", np.stack(pixels))
    write_idx(folder / f"{stem}-labels-idx1-ubyte{ending}", np.array(labels))


def write_archive(path: Path, folder: Path, outer: str) -> Path:
    """A zip or tar.gz of a folder's content, below an outer folder; the folder is deleted."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*.*")):
                archive.write(file, f"{outer}/{file.relative_to(folder)}")
    else:
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder, outer)
    shutil.rmtree(folder)
    return path


def write_tfds(
    data_dir: Path,
    name: str,
    splits: Mapping[str, Iterable[tuple[int, np.ndarray]]],
    classes: Sequence[str],
    shape: tuple[int, int, int] = (28, 28, 1),
) -> None:
    """A set of grey pictures that TensorFlow Datasets writes itself, as `name:1.0.0`; each has 0 to 2 tags."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=shape),
            "label": tfds.features.ClassLabel(names=list(classes)),
            "tags": tfds.features.Sequence(tf.int64),
        }
    )

    def data_set(rows: Iterable[tuple[int, np.ndarray]]) -> Any:
        labels, pixels = zip(*rows, strict=True)
        tags = tf.ragged.range(tf.range(len(labels), dtype=tf.int64) % 3)  # none, one or two
        return tf.data.Dataset.from_tensor_slices(
            {"image": np.stack(pixels)[..., None], "label": np.array(labels), "tags": tags}
        )

    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=features,
        split_datasets={split: data_set(rows) for split, rows in splits.items()},
        data_dir=data_dir,
    )
