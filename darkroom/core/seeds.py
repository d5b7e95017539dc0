"""One seed feeds every random choice through named streams, so that no two choices share their numbers."""

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """A 32-bit seed for the stream called `names`, e.g. `derive(42, "shuffle", epoch)`."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """NumPy's generator for the stream called `names`."""
    return np.random.default_rng(derive(seed, *names))
