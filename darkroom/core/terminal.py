"""What a person sees in the terminal: progress, tables, and no noise from libraries."""

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 5.0


def progress(items: Iterable[T], total: int, what: str, unit: str = "pictures", each: int = 1) -> Iterator[T]:
    """Yield `items` and show how many of `total` units are done: a bar on a terminal, lines in a log.

    Args:
        items: the work.
        total: number of units.
        what: is being done, such as "extract".
        unit: plural.
        each: units in one item.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

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


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equal length in aligned columns, the first row as the heading."""
    from tabulate import tabulate

    lines = tabulate(rows, tablefmt="plain", disable_numparse=True, preserve_whitespace=True).splitlines()
    return "\n".join(line.rstrip() for line in lines)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Discard what libraries write to stderr past Python's `sys.stderr`."""
    sys.stderr.flush()
    stderr = os.dup(2)
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    os.close(devnull)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
