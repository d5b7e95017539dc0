"""Random streams: one seed feeds every random choice through its own named stream."""

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """Derive the 32-bit seed of a named stream, such as `derive(42, "shuffle", epoch)`."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the NumPy generator of a named stream."""
    return np.random.default_rng(derive(seed, *names))
