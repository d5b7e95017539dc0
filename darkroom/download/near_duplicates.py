"""Near-duplicates: pictures that were resized, re-encoded or recoloured, among millions.

Candidates are pairs whose perceptual hashes differ in at most `MAX_HASH_DISTANCE` bits. All of them are found, without
comparing every pair: of two such hashes, cut into three blocks of bits, one block differs in two bits at most. So for
each block the pictures are sorted by its bits, and each is compared with those whose bits are the same but for two.
"""

import hashlib
from collections.abc import Iterator

import numpy as np

from darkroom.core.terminal import progress

MAX_HASH_DISTANCE = 8  # bits of 64
BLOCKS = 3  # within each, MAX_HASH_DISTANCE // BLOCKS = 2 bits may differ
PAIRS = 2**21  # that are compared at once
LARGE = 32  # pictures with the same bits in a block: those of one group are then not compared with each other
SAMPLE = 8  # every so many values of the detail, from which most pairs are rejected
VALUES = 2**19  # of details that are multiplied at once, so that they stay in the processor's cache


def find(measures: np.ndarray, threshold: float | None) -> list[list[int]]:
    """Groups of rows of `inspection.MEASURES` that show the same picture; groups and their rows are in order.

    Without `threshold`, only pictures with the same value of every measure form a group.

    Equal hashes alone prove nothing where all pictures of a class look alike, so the fine detail of both must agree:
    its correlation is at least `threshold`. On 4,317 photographs of flowers it was above 0.9 for 28 pairs, all of them
    the same picture to the eye, and below 0.65 for all but three of the others.
    """
    labels = _identical(measures)
    if threshold:
        first = np.flatnonzero((labels == np.arange(len(labels))) & measures["detail"].any(axis=1))
        found = connect(measures["hash"][first], measures["detail"][first], threshold)
        renamed = np.arange(len(labels))
        renamed[first] = first[found]
        labels = renamed[labels]
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    return [group.tolist() for group in groups if len(group) > 1]


def _identical(measures: np.ndarray) -> np.ndarray:
    """For each row the first row with the same measures, except for height and width, which `size` stands for."""
    first: dict[bytes, int] = {}
    same = measures[["properties", "hash", "detail"]]
    digests = (hashlib.sha256(item.tobytes()).digest() for item in same)
    return np.array([first.setdefault(digest, row) for row, digest in enumerate(digests)], np.int64)


def connect(hashes: np.ndarray, details: np.ndarray, threshold: float) -> np.ndarray:
    """For each picture the first one of its group.

    Args:
        hashes: uint64 (n,).
        details: int8 (n, values); none of them is all 0.
        threshold: least correlation of the details of two pictures.
    """
    labels = np.arange(len(hashes))
    details_ = _Details(details, threshold)
    # Neighbouring bits of a perceptual hash depend on each other. Those of a block are far apart.
    bits = np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1)
    blocks = [_numbers(bits[:, block::BLOCKS]) for block in range(BLOCKS)]
    for block, keys in enumerate(progress(blocks, len(hashes), "comparing", step=-(-len(hashes) // BLOCKS))):
        labels = _joined_loosely(labels, keys, hashes, details_)
        for first, second in _pairs(keys, hashes, labels):
            apart = labels[first] != labels[second]
            for earlier in blocks[:block]:  # which had the pair, too, if few bits differ there
                apart &= np.bitwise_count(earlier[first] ^ earlier[second]) > MAX_HASH_DISTANCE // BLOCKS
            labels = _join(labels, *details_.alike(first[apart], second[apart]))
    return labels


def _joined_loosely(labels: np.ndarray, keys: np.ndarray, hashes: np.ndarray, details: "_Details") -> np.ndarray:
    """The labels after most of each large group of equal keys was joined: all of its pairs are too many to look at.

    Each row is compared with a random one of the same key, as long as that joins one in a hundred.
    """
    random = np.random.default_rng(0)
    joined = len(labels)
    while joined > len(labels) // 100:
        order = np.lexsort((random.random(len(keys)), keys))
        first, second = order[:-1], order[1:]
        use = (keys[first] == keys[second]) & (labels[first] != labels[second]) & _close(hashes[first], hashes[second])
        before = len(np.unique(labels))
        labels = _join(labels, *details.alike(first[use], second[use]))
        joined = before - len(np.unique(labels))
    return labels


def _close(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    close: np.ndarray = np.bitwise_count(one ^ other) <= MAX_HASH_DISTANCE
    return close


def _numbers(bits: np.ndarray) -> np.ndarray:
    """Rows of at most 24 bits as numbers."""
    bytes_ = np.packbits(bits, axis=1).astype(np.int32)
    return (bytes_[:, 0] << 16 | bytes_[:, 1] << 8 | bytes_[:, 2]) >> (24 - bits.shape[1])


def _pairs(keys: np.ndarray, hashes: np.ndarray, labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of rows with close hashes whose keys differ in two bits at most.

    Of two rows with the same label the pair is left out where many rows have the same key.
    """
    count = len(keys)
    order = np.lexsort((labels, keys)).astype(np.int32)
    keys, hashes = keys[order], hashes[order]
    width = int(keys[-1]).bit_length()
    starts = np.zeros(2**width + 1, np.int32)  # of each key in `keys`
    np.cumsum(np.bincount(keys, minlength=2**width), out=starts[1:])
    places = keys.astype(np.int64) * count + labels[order]  # in order

    def expand(rows: np.ndarray, begin: np.ndarray, end: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each of the rows with all from `begin` to `end`."""
        total = np.cumsum(end - begin, dtype=np.int64)
        cuts = np.searchsorted(total, np.arange(PAIRS, total[-1] if len(total) else 0, PAIRS), "right")
        for part in np.split(np.arange(len(rows)), np.unique(cuts)):
            lengths = end[part] - begin[part]
            offsets = np.cumsum(lengths) - lengths
            first = np.repeat(rows[part], lengths)
            second = np.arange(len(first)) + np.repeat(begin[part] - offsets, lengths)
            close = _close(hashes[first], hashes[second])
            yield order[first[close]], order[second[close]]

    yield from expand(np.arange(count), np.searchsorted(places, places, "right"), starts[keys + 1])
    for high in range(width):
        rows = np.flatnonzero(keys >> high & 1 == 0)
        for low in (0, *(1 << bit for bit in range(high))):
            other = keys[rows] ^ (1 << high | low)
            begin, end = starts[other], starts[other + 1]
            large = end - begin > LARGE
            if large.any():
                own = places[rows[large]] + (other[large] - keys[rows[large]]).astype(np.int64) * count
                before, after = np.searchsorted(places, own, "left"), np.searchsorted(places, own, "right")
                yield from expand(rows[large], begin[large], before)
                yield from expand(rows[large], after, end[large])
                end = np.where(large, begin, end)
            some = np.flatnonzero(end > begin)
            yield from expand(rows[some], begin[some], end[some])


class _Details:
    """Which pairs of pictures have correlated details."""

    def __init__(self, details: np.ndarray, threshold: float) -> None:
        self.details, self.threshold = details, threshold
        self.sample = np.ascontiguousarray(details[:, ::SAMPLE])
        every = np.arange(len(details))
        squares = _dot(details, every, every)
        self.norms = np.sqrt(squares)
        self.rest = np.sqrt(squares - _dot(self.sample, every, every))

    def alike(self, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of the pairs whose details are."""
        first, second = np.minimum(one, other), np.maximum(one, other)
        least = np.maximum(self.threshold * self.norms[first], 1) * self.norms[second]
        # The most that the product can be, by the inequality of Cauchy and Schwarz.
        most = _dot(self.sample, first, second) + self.rest[first] * self.rest[second]
        possible = np.flatnonzero(most >= least * np.float32(0.999))
        first, second = first[possible], second[possible]
        alike = _dot(self.details, first, second) >= least[possible]
        return first[alike], second[alike]


def _dot(values: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The products of pairs of rows of int8, exactly: they are whole numbers below 2**24, which float32 holds."""
    step = max(VALUES // values.shape[1], 1)
    products = np.empty(len(first), np.float32)
    for start in range(0, len(first), step):
        rows = slice(start, start + step)
        pair = (np.take(values, side[rows], axis=0).astype(np.float32) for side in (first, second))
        np.einsum("ij,ij->i", *pair, out=products[rows])
    return products


def _join(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Labels after the groups of pairs of rows were joined; the label of a group is its first row."""
    if not len(first):
        return labels
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes, ends = np.unique(labels[np.stack([first, second])], return_inverse=True)
    graph = coo_array((np.ones(len(first), bool), (ends[0], ends[1])), shape=(len(nodes), len(nodes)))
    _, component = connected_components(graph, directed=False)
    _, smallest = np.unique(component, return_index=True)
    renamed = np.arange(len(labels))
    renamed[nodes] = nodes[smallest[component]]
    return renamed[labels]
