"""What the next export with the same backbone needs again: its conversion, and the features that it computed."""

import contextlib
import hashlib
import importlib.metadata
import os
from collections.abc import Callable, Iterable

import numpy as np

from darkroom.core import paths, precision, sealed
from darkroom.core.hashing import code_digest
from darkroom.core.parallel import cores
from darkroom.core.partial_files import remove, remove_abandoned

KEPT = 6  # arrays: for two backbones, a conversion each and the features by two formats
PACKAGES = ("tensorflow", "keras", "numpy", "onnx", "onnxruntime", "tf2onnx")


def recall(key: Iterable[str | bytes], make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return what `make` returns, from the cache if it was called with this key before.

    Args:
        key: all that changes the result but code, versions of libraries, and the machine.
        make: computes it.
    """
    digest = hashlib.sha256(code_digest("export").encode())
    versions = [importlib.metadata.version(name) for name in PACKAGES]
    for part in (*versions, precision.kind_of_cpu(), str(cores()), *key):
        content = part.encode() if isinstance(part, str) else part
        digest.update(hashlib.sha256(content).digest())
    folder, stem = paths.cache() / "export", digest.hexdigest()[:24]
    remove_abandoned(folder)
    for path in folder.glob(f"{stem}.*.npz"):
        if sealed.is_intact(path):
            os.utime(path)
            with np.load(path) as arrays:
                return np.asarray(arrays["array"])
        remove(path)
    array = make()
    with contextlib.suppress(OSError):  # the export itself does not need the cache
        sealed.write(folder, stem, {"array": array})
        for path in sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            remove(path)
    return array
