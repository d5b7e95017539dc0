"""A cache of a network's outputs by picture content, so that no picture goes through the same network twice.

It lies outside the stages' outputs, which DVC deletes before a run. Chunks are written atomically, so that a killed
stage resumes where it stopped and several processes can share a cache. A chunk that is damaged is computed again.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core import sealed
from darkroom.core.errors import is_of_the_machine
from darkroom.core.partial_files import remove, remove_abandoned
from darkroom.core.paths import cache
from darkroom.core.resources import allocate


class RowCache:
    """Rows for one `key`: everything but the picture that changes them (weights, layers, size, code…)."""

    def __init__(self, kind: str, key: dict[str, Any]) -> None:
        """Open the cache, which lies in the folder `kind` of .cache."""
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
        self.key = key
        self.folder = cache() / kind / name
        remove_abandoned(self.folder)
        self.places: dict[str, tuple[Path, int]] = {}  # only in chunks that are intact

    def missing(self, digests: Sequence[str]) -> list[str]:
        """Return the digests without a row in the cache, each once, in order of first appearance.

        Only chunks that hold some of them are read as a whole, to check that they are intact.
        """
        wanted = dict.fromkeys(digests)
        for chunk in sorted(self.folder.glob("*.npz")):
            rows = _digests(chunk)
            if rows is not None and not any(digest in wanted and digest not in self.places for digest in rows):
                continue
            if rows is not None and sealed.is_intact(chunk):
                self.places.update({digest: (chunk, row) for row, digest in enumerate(rows)})
            else:
                remove(chunk)
                print(f"{chunk} is damaged, so its pictures go through the network again", flush=True)
        return [digest for digest in wanted if digest not in self.places]

    def add(self, digests: Sequence[str], rows: dict[str, np.ndarray]) -> None:
        """Store a row of each array for each digest."""
        chunk = sealed.write(self.folder, "chunk", {"sha256": np.array(digests), **rows})
        self.places.update({digest: (chunk, row) for row, digest in enumerate(digests)})

    def rows(self, digests: Sequence[str], array: str) -> np.ndarray:
        """An array's rows of `digests` (pictures, n), in memory."""
        chunks = {}
        for path in {self.places[digest][0] for digest in digests}:
            with np.load(path) as file:
                chunks[path] = file[array]
        return np.stack([chunks[path][row] for path, row in map(self.places.__getitem__, digests)])

    def write(self, digests: Sequence[str], array: str, target: Path) -> None:
        """Write an array's rows of `digests` as a .npy file (pictures, n), without holding all of it in memory."""
        by_chunk: dict[Path, list[tuple[int, int]]] = defaultdict(list)
        for number, digest in enumerate(digests):
            chunk, row = self.places[digest]
            by_chunk[chunk].append((number, row))
        result: np.memmap | None = None
        for chunk, rows in by_chunk.items():
            with np.load(chunk) as file:
                chunk_rows = file[array]
            if result is None:
                shape = (len(digests), *chunk_rows.shape[1:])
                result = np.lib.format.open_memmap(target, mode="w+", dtype=chunk_rows.dtype, shape=shape)
                allocate(target)
            numbers, places = np.array(rows).T
            result[numbers] = chunk_rows[places]
        if result is not None:
            result.flush()


def _digests(chunk: Path) -> list[str] | None:
    """The digest of each row, without reading the rest of the chunk; None if it cannot be read."""
    try:
        with np.load(chunk) as file:
            return [str(digest) for digest in file["sha256"]]
    except Exception as error:  # a damaged zip file raises almost anything
        if isinstance(error, PermissionError) or is_of_the_machine(error):
            raise
        return None
