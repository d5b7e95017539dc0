"""A cache of features by picture content, so that no picture goes through the same network twice.

It lies outside the stage's output, which DVC deletes before a run. Chunks are written atomically, so that a killed
extraction resumes where it stopped and several processes can share a cache.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.files import allocate, whole_file
from darkroom.core.paths import cache


class FeatureCache:
    """Rows of features for one `key`: everything but the picture that changes them (weights, layers, size, code…)."""

    def __init__(self, key: dict[str, Any]) -> None:
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
        self.folder = cache() / "features" / name
        self.places: dict[str, tuple[Path, int]] = {}
        for chunk in sorted(self.folder.glob("*.npz")):
            with np.load(chunk) as file:
                self.places.update({str(digest): (chunk, row) for row, digest in enumerate(file["sha256"])})

    def missing(self, digests: Sequence[str]) -> list[str]:
        """Return the digests without features in the cache, each once, in order of first appearance."""
        return [digest for digest in dict.fromkeys(digests) if digest not in self.places]

    def add(self, digests: Sequence[str], features: dict[str, np.ndarray]) -> None:
        """Store one row of each layer's features for each digest."""
        chunk = self.folder / f"{hashlib.sha256(''.join(digests).encode()).hexdigest()[:24]}.npz"
        with whole_file(chunk) as partial, partial.open("wb") as stream:
            np.savez(stream, sha256=np.array(digests), **features)  # type: ignore[arg-type]
        self.places.update({digest: (chunk, row) for row, digest in enumerate(digests)})

    def write(self, digests: Sequence[str], layer: str, target: Path) -> None:
        """Write the rows of `digests` as a .npy array (pictures, n), without holding all of it in memory."""
        by_chunk: dict[Path, list[tuple[int, int]]] = defaultdict(list)
        for number, digest in enumerate(digests):
            chunk, row = self.places[digest]
            by_chunk[chunk].append((number, row))
        result: np.memmap | None = None
        for chunk, rows in by_chunk.items():
            with np.load(chunk) as file:
                features = file[layer]
            if result is None:
                shape = (len(digests), *features.shape[1:])
                result = np.lib.format.open_memmap(target, mode="w+", dtype=features.dtype, shape=shape)
                allocate(target)
            numbers, places = np.array(rows).T
            result[numbers] = features[places]
        if result is not None:
            result.flush()
