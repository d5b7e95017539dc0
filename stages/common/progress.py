"""Progress of long work: a bar on a terminal, a plain line every few seconds in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 5.0


def progress(items: Iterable[T], total: int, what: str, unit: str = "pictures", each: int = 1) -> Iterator[T]:
    """Pass `items` on and show how many of `total` units are done; every item stands for `each` units."""
    if sys.stderr.isatty():
        with tqdm(desc=what, total=total, unit=f" {unit}") as bar:
            for item in items:
                yield item
                bar.update(min(each, total - bar.n))
        return
    started = last = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last > SECONDS_BETWEEN_LINES:
            last, done = now, min(number * each, total)
            print(f"{what}: {done:,} of {total:,} {unit} ({done / (now - started):,.0f} a second)", flush=True)
    print(f"{what}: {total:,} {unit} in {time.monotonic() - started:.1f} s", flush=True)
