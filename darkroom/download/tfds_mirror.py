"""A mirror of data sets for networks without access to their servers: the same bytes from Debian, pinned by SHA-256.

The usual server is tried first; the mirror is used only if it does not answer, and that is printed.
"""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from darkroom.core.errors import UserError


class Set(NamedTuple):
    """What a set of TensorFlow Datasets holds."""

    classes: int
    splits: Mapping[str, int]  # pictures
    size: float  # bytes of a picture, on average


SETS = {"fashion_mnist": Set(10, {"train": 60_000, "test": 10_000}, 546)}
DEBIAN_PACKAGES = {"fashion_mnist": "dataset-fashion-mnist"}
# Debian's files lack the name and time in the gzip header; with them they are the original bytes, whose SHA-256
# TensorFlow Datasets verifies. Name to modification time.
FASHION_MNIST_FILES = {
    "train-images-idx3-ubyte": 1504176606,
    "train-labels-idx1-ubyte": 1504176606,
    "t10k-images-idx3-ubyte": 1504176627,
    "t10k-labels-idx1-ubyte": 1504176627,
}


def tfds_files(name: str, folder: Path) -> None:
    """Put the original files of the TensorFlow Datasets set `name` into `folder`, from a Debian package.

    Raises:
        UserError: no mirror has the set, or the mirror does not answer.
    """
    if name not in DEBIAN_PACKAGES:
        raise UserError(
            f"the servers of data set {name} cannot be reached and no mirror has it: put its files into "
            "~/tensorflow_datasets/downloads/manual, or use another download.source."
        )
    package = DEBIAN_PACKAGES[name]
    print(f"The servers of {name} cannot be reached: Debian's package {package} is used instead.", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        _debian_download(package, Path(scratch))
        archive = next(Path(scratch).glob("*.deb"))
        subprocess.run(["dpkg-deb", "-x", archive.name, "out"], cwd=scratch, check=True)
        folder.mkdir(parents=True, exist_ok=True)
        for file, modified in FASHION_MNIST_FILES.items():
            packaged = next((Path(scratch) / "out").rglob(f"{file}.gz"))
            (folder / f"{file}.gz").write_bytes(_with_gzip_name(packaged.read_bytes(), file, modified))


def _debian_download(package: str, folder: Path) -> None:
    """Run `apt-get download`, with private package lists if the system has none; root is not needed."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    own = ["-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"]
    quick = ["-q", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20", "-o", "APT::Sandbox::User="]
    attempts = [
        [["apt-get", *quick, "download", package]],
        [["apt-get", *quick, *own, "update"], ["apt-get", *quick, *own, "download", package]],
    ]
    problem = "apt-get is not installed"
    for commands in attempts:
        for command in commands:
            try:
                done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
            except FileNotFoundError:
                break
            if done.returncode:
                problem = (done.stderr.strip().splitlines() or ["apt-get failed"])[-1]
                break
        else:
            return
    raise UserError(f"Debian's package {package} cannot be downloaded ({problem}): check the network.")


def _with_gzip_name(compressed: bytes, name: str, modified: int) -> bytes:
    """A gzip file with `name` and `modified` in its header (RFC 1952); the data after the old header stays."""
    header = b"\x1f\x8b\x08\x08" + modified.to_bytes(4, "little") + b"\x00\x03" + name.encode() + b"\x00"
    return header + compressed[10:]
