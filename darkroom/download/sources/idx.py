"""Source `idx`: pairs of files in the format of MNIST."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from darkroom.core.errors import UserError
from darkroom.core.terminal import progress
from darkroom.download.local import local_path
from darkroom.download.params import Params
from darkroom.download.parts import parts_of_files
from darkroom.download.sources.base import Source, SourceFile
from darkroom.download.tree import read_tree


def read(params: Params, scratch: Path) -> Source:
    """Pictures of the IDX files in `download.path`, gzipped or not: `*images*` with its `*labels*`; t10k is the test.

    Format: http://yann.lecun.com/exdb/mnist (two zero bytes, type, number of dimensions, dimensions as big-endian
    32-bit numbers, values).

    Raises:
        UserError: a file is missing, is not an IDX file of bytes, or the two of a pair differ in length.
    """
    folder = local_path(params, scratch)
    images = sorted(path for path in read_tree(folder).all_files() if "images" in path.name) if folder.is_dir() else []
    if not images:
        raise UserError(f"download.path {folder} holds no IDX files such as train-images-idx3-ubyte.gz.")
    return Source(_pictures(images), f"{len(images)} pairs of IDX files")


def _pictures(images: list[Path]) -> Iterator[SourceFile]:
    for path, part in zip(images, parts_of_files(images), strict=True):
        pair = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1"))
        if not pair.is_file():
            raise UserError(f"{pair} is missing: it has the labels of {path.name}.")
        pixels, labels = _array(path), _array(pair)
        same_length = labels.ndim == 1 and pixels.shape[:1] == labels.shape
        if not same_length or not (pixels.ndim == 3 or pixels.shape[3:] == (3,)):
            raise UserError(f"{path.name} has {pixels.shape} values and {pair.name} {labels.shape}: they do not match.")
        stem = path.name.split("-images")[0]
        for number, label in enumerate(progress(labels, len(labels), f"reading {path.name}")):
            yield SourceFile(part, str(label), f"{stem}-{number:06d}.png", pixels[number])


def _array(path: Path) -> np.ndarray:
    """The array of an IDX file of unsigned bytes."""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        dimensions = np.frombuffer(data, ">i4", data[3], 4) if data[:3] == b"\0\0\x08" else None
        if dimensions is None:
            raise ValueError("it does not begin with 0, 0, 8")
        return np.frombuffer(data, np.uint8, offset=4 + dimensions.nbytes).reshape(dimensions)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise UserError(f"{path} is not a complete IDX file of bytes ({error}).") from None
