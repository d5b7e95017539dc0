"""Finding near-duplicates by the index, against the comparison of all pairs.

    python -m benchmarks.near_duplicates [--counts 10000 100000 1000000] [--largest 30000] [--threshold 0.9]

The perceptual hashes and fine details are made up: `uniform` has no two alike, in `clustered` half of the pictures are
versions of others (groups of 2 to 10), and in `one group` a tenth are versions of one picture. All pairs are compared
up to --largest pictures, and there the groups must be the same.
"""

import argparse
import contextlib
import io
import resource
import time
from collections.abc import Callable, Iterator

import numpy as np

from darkroom.core.graphs import connected_groups
from darkroom.download import near_duplicates
from darkroom.download.inspection import DETAIL_SIDE

CHUNK = 10_000


def uniform(count: int) -> np.ndarray:
    """The number of the original of each picture: itself."""
    return np.arange(count)


def clustered(count: int) -> np.ndarray:
    """Half of the pictures belong to groups of 2 to 10."""
    random = np.random.default_rng(1)
    numbers = np.arange(count)
    sizes = random.integers(2, 11, count // 2)
    grouped = np.repeat(numbers[: len(sizes)], sizes)[: count // 2]
    numbers[random.permutation(count)[: len(grouped)]] = grouped + count
    return numbers


def one_group(count: int) -> np.ndarray:
    """A tenth of the pictures are versions of one."""
    numbers = np.arange(count)
    numbers[::10] = count
    return numbers


def pictures(originals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes and details: the original's, with up to four bits changed, and with noise."""
    random = np.random.default_rng(0)
    _, rows, counts = np.unique(originals, return_inverse=True, return_counts=True)
    changes = np.where(counts > 1, random.integers(0, 5, len(counts)), 0)[rows]
    hashes = random.integers(0, 2**64, len(counts), np.uint64)[rows]
    for number in range(4):
        bit = np.uint64(1) << random.integers(0, 64, len(rows)).astype(np.uint64)
        hashes ^= np.where(number < changes, bit, 0).astype(np.uint64)
    details = np.empty((len(rows), DETAIL_SIDE**2), np.int8)
    shared = {int(row): random.standard_normal(DETAIL_SIDE**2, np.float32) for row in np.flatnonzero(counts > 1)}
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        fine = random.standard_normal((len(part), DETAIL_SIDE**2), np.float32)
        for place, row in enumerate(part):
            if counts[row] > 1:
                fine[place] = shared[int(row)] + 0.2 * fine[place]
        details[start : start + CHUNK] = np.clip(np.rint(fine * 32), -127, 127)
    return hashes, details


def all_pairs(hashes: np.ndarray, details: np.ndarray, threshold: float) -> list[list[int]]:
    """Groups by the comparison of every pair of hashes, a picture with all later ones at once."""
    norms = np.linalg.norm(details.astype(np.float32), axis=1)

    def pairs() -> Iterator[tuple[int, int]]:
        for row in range(len(hashes)):
            later = np.bitwise_count(hashes[row + 1 :] ^ hashes[row])
            close = np.flatnonzero(later <= near_duplicates.MAX_HASH_DISTANCE) + row + 1
            products = details[close].astype(np.float32) @ details[row].astype(np.float32)
            for other in close[products >= max(threshold * norms[row], 1) * norms[close]]:
                yield row, int(other)

    return connected_groups(len(hashes), pairs())


def index(hashes: np.ndarray, details: np.ndarray, threshold: float) -> list[list[int]]:
    """Groups by the index."""
    return near_duplicates.groups(near_duplicates.connect(hashes, details, threshold))


def timed(function: Callable[..., list[list[int]]], *arguments: object) -> tuple[list[list[int]], float, float]:
    """The result, and the seconds of wall and processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        result = function(*arguments)
    return result, time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Measure, and print a line for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--largest", type=int, default=30_000, help="of all pairs")
    parser.add_argument("--threshold", type=float, default=0.9)
    arguments = parser.parse_args()
    timed(index, *pictures(uniform(1000)), arguments.threshold)  # imports
    for count in arguments.counts:
        for kind in (uniform, clustered, one_group):
            hashes, details = pictures(kind(count))
            groups, wall, cpu = timed(index, hashes, details, arguments.threshold)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            line = f"{count:9,} {kind.__name__:10} {len(groups):7,} groups {wall:6.1f} s ({cpu:.1f} s of CPU)"
            size = min(count, arguments.largest)
            some = hashes[:size], details[:size], arguments.threshold
            expected, slow, _ = timed(all_pairs, *some)
            if (groups if size == count else timed(index, *some)[0]) != expected:
                raise SystemExit(f"{size:,} {kind.__name__}: the groups differ")
            ratio = slow * (count / size) ** 2 / wall
            note = "" if size == count else f", from {size:,} pictures"
            print(f"{line}, all pairs x {ratio:.1f}{note}; at most {memory:.1f} GB until now", flush=True)
            del hashes, details, some


if __name__ == "__main__":
    main()
