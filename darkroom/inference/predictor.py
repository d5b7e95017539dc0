"""Classify many pictures with an exported model: decoded by threads, batched by size, results in order."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from darkroom.core.errors import UserError
from darkroom.core.parallel import cores
from darkroom.images.decode import decode
from darkroom.inference.formats.base import Exported

Source = TypeVar("Source", bound=Path | bytes)  # a picture file or its bytes

BATCH = 32  # pictures in a batch, and fewer of large ones:
BATCH_PIXELS = 16 * 2**20  # the model holds each pixel as three float32
MIN_HEIGHT = 299  # networks with a large input enlarge lower pictures to this many rows first
WAITING = 8 * BATCH  # decoded pictures among which equal sizes are searched
WAITING_PIXELS = 4 * BATCH_PIXELS  # three bytes each
MAX_PIXELS = 100_000_000  # of a picture
MAX_SIDE = 65_535  # pixels: for resizing, the model builds a matrix of this side times its own
THREADS = 4  # at most; each may hold two pictures of the largest size
NO_PIXELS = np.empty((0, 0, 3), np.uint8)


@dataclass
class _Item(Generic[Source]):
    """A picture on its way through the predictor; `result` holds its probabilities or the error."""

    source: Source
    pixels: np.ndarray
    result: np.ndarray | UserError | None = None

    @property
    def size(self) -> int:
        """Pixels held in memory."""
        return self.pixels.shape[0] * self.pixels.shape[1]

    @property
    def work(self) -> int:
        """Pixels that the model makes of it."""
        return max(self.pixels.shape[0], MIN_HEIGHT) * self.pixels.shape[1]


def classify(exported: Exported, sources: Sequence[Source]) -> Iterator[tuple[Source, np.ndarray | UserError]]:
    """Yield each source, in order, with its probabilities (classes,) float32, or with the reason why it has none.

    The model resizes inside, so only pictures of equal size fit into one batch: they are searched among the next
    `WAITING` ones. Memory use is bounded, however many pictures there are and however large they are.
    """
    waiting: deque[_Item[Source]] = deque()
    pixels = 0
    for item in itertools.chain(_decoded(sources), [None]):
        if item is not None:
            waiting.append(item)
            pixels += item.size
        while waiting and (item is None or len(waiting) >= WAITING or pixels >= WAITING_PIXELS):
            batch = _next_batch(waiting)
            pixels -= sum(member.size for member in batch)
            _predict(exported, batch)
            while waiting and (first := waiting[0]).result is not None:
                waiting.popleft()
                yield first.source, first.result


def probabilities(exported: Exported, pixels: np.ndarray) -> np.ndarray:
    """Call `exported.probabilities`, with any failure as a `UserError`.

    Raises:
        UserError: the model failed, for example for want of memory; the message is the reason.
    """
    try:
        return exported.probabilities(pixels)
    except Exception as error:  # each library has its own errors
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"the model cannot process it ({reason})") from None


def top_classes(probabilities: np.ndarray, classes: Sequence[str], count: int) -> list[tuple[str, float]]:
    """The `count` most probable classes of one picture with their probabilities, the most probable first."""
    numbers = np.argsort(-probabilities, kind="stable")[:count]
    return [(classes[number], round(float(probabilities[number]), 6)) for number in numbers]


def _decoded(sources: Iterable[Source]) -> Iterator[_Item[Source]]:
    """Pictures in order, decoded a little ahead by threads (Pillow releases the interpreter's lock)."""
    remaining = iter(sources)
    threads = min(cores(), THREADS)
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[_Item[Source]]] = deque(
            pool.submit(_decode, source) for source in itertools.islice(remaining, 2 * threads)
        )
        try:
            while pending:
                yield pending.popleft().result()
                pending.extend(pool.submit(_decode, source) for source in itertools.islice(remaining, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def _decode(source: Source) -> _Item[Source]:
    try:
        return _Item(source, decode(source, max_pixels=MAX_PIXELS, max_side=MAX_SIDE))
    except UserError as error:
        return _Item(source, NO_PIXELS, error)


def _next_batch(waiting: Iterable[_Item[Source]]) -> list[_Item[Source]]:
    """The first picture without a result and those after it that have its size, up to a full batch."""
    batch: list[_Item[Source]] = []
    for item in waiting:
        if item.result is None and (not batch or item.pixels.shape == batch[0].pixels.shape):
            batch.append(item)
            if len(batch) == BATCH or (len(batch) + 1) * item.work > BATCH_PIXELS:
                break
    return batch


def _predict(exported: Exported, batch: Sequence[_Item[Source]]) -> None:
    """Set each picture's result and release its pixels; a batch on which the model fails is tried one by one."""
    if not batch:
        return
    results: Iterable[np.ndarray | UserError]
    try:
        results = probabilities(exported, np.stack([item.pixels for item in batch]))
    except UserError as error:
        if len(batch) > 1:
            for item in batch:
                _predict(exported, [item])
            return
        results = [error]
    for item, result in zip(batch, results, strict=True):
        item.pixels, item.result = NO_PIXELS, result
