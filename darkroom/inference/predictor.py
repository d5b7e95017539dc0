"""An exported model on many pictures: decoded by threads, equal sizes together, results in order."""

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
from darkroom.inference import formats
from darkroom.inference.formats import Exported

Source = TypeVar("Source", bound=Path | bytes)  # a file or its bytes

BATCH = 32  # pictures that the model sees at once, and fewer of those that are large:
BATCH_PIXELS = 16 * 2**20  # the model makes three float32 of each
HIGH = 299  # rows that a network with large pictures makes of a picture first, also of a low one
WAITING = 8 * BATCH  # decoded pictures among which equal sizes are looked for
WAITING_PIXELS = 4 * BATCH_PIXELS  # three bytes each
LARGEST = 100_000_000  # pixels of a picture
LONGEST = 65_535  # pixels of a side: to resize, the model makes a matrix of that side and its own
THREADS = 4  # at most; each may hold two of the largest
NOTHING = np.empty((0, 0, 3), np.uint8)


@dataclass
class _Item(Generic[Source]):
    """A picture on its way: what was decoded, or in its place why not or what the model said of it."""

    source: Source
    pixels: np.ndarray
    result: np.ndarray | UserError | None = None

    @property
    def size(self) -> int:
        """Pixels that are held."""
        return self.pixels.shape[0] * self.pixels.shape[1]

    @property
    def work(self) -> int:
        """Pixels that the model makes of it."""
        return max(self.pixels.shape[0], HIGH) * self.pixels.shape[1]


def classify(exported: Exported, sources: Sequence[Source]) -> Iterator[tuple[Source, np.ndarray | UserError]]:
    """Probabilities (classes,) float32 of each picture, or why it cannot be read, in the order of `sources`.

    The model resizes inside, so that only pictures of one size fit into a batch: they are looked for among the next
    `WAITING` ones. What is in memory is bounded, however many pictures there are and however large they are.
    """
    waiting: deque[_Item[Source]] = deque()
    pixels = 0
    for item in itertools.chain(_decoded(sources), [None]):
        if item is not None:
            waiting.append(item)
            pixels += item.size
        while waiting and (item is None or len(waiting) >= WAITING or pixels >= WAITING_PIXELS):
            batch = _batch(waiting)
            pixels -= sum(one.size for one in batch)
            _predict(exported, batch)
            while waiting and (first := waiting[0]).result is not None:
                waiting.popleft()
                yield first.source, first.result


def probabilities(exported: Exported, pixels: np.ndarray) -> np.ndarray:
    """What `exported.probabilities` gives.

    Raises:
        UserError: nothing, because memory has run out or the like; the message is the reason.
    """
    try:
        return exported.probabilities(pixels)
    except Exception as error:  # whatever three libraries raise
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"the model cannot take it ({said})") from None


def located(path: Path) -> Path:
    """The export at a path: itself, or the quickest of a folder of them.

    Raises:
        UserError: the folder holds none.
    """
    saved_model = (path / "saved_model.pb").exists()  # it is a folder, too
    return formats.locate(path) if path.is_dir() and not saved_model else path


def best(probabilities: np.ndarray, classes: Sequence[str], count: int) -> list[tuple[str, float]]:
    """The `count` most probable classes of one picture, the most probable first."""
    first = np.argsort(-probabilities, kind="stable")[:count]
    return [(classes[number], round(float(probabilities[number]), 6)) for number in first]


def _decoded(sources: Iterable[Source]) -> Iterator[_Item[Source]]:
    """Pictures in order, decoded by threads (Pillow lets go of the interpreter's lock) a little ahead of their use."""
    todo = iter(sources)
    threads = min(cores(), THREADS)
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[_Item[Source]]] = deque(
            pool.submit(_decode, source) for source in itertools.islice(todo, 2 * threads)
        )
        try:
            while pending:
                yield pending.popleft().result()
                pending.extend(pool.submit(_decode, source) for source in itertools.islice(todo, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def _decode(source: Source) -> _Item[Source]:
    try:
        return _Item(source, decode(source, max_pixels=LARGEST, max_side=LONGEST))
    except UserError as error:
        return _Item(source, NOTHING, error)


def _batch(waiting: Iterable[_Item[Source]]) -> list[_Item[Source]]:
    """The first that waits for the model, and those after it that have its size; none if none waits."""
    alike: list[_Item[Source]] = []
    for item in waiting:
        if item.result is None and (not alike or item.pixels.shape == alike[0].pixels.shape):
            alike.append(item)
            if len(alike) == BATCH or (len(alike) + 1) * item.work > BATCH_PIXELS:
                break
    return alike


def _predict(exported: Exported, batch: Sequence[_Item[Source]]) -> None:
    """Give each its result, and let go of its pixels. What the model cannot take together it is asked one by one."""
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
        item.pixels, item.result = NOTHING, result
