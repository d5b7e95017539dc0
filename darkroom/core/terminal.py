"""Terminal output: progress, tables, and silencing libraries."""

import contextlib
import os
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO, TypeVar

T = TypeVar("T")
JOINERS = "\u200c\u200d"
SECONDS_BEFORE_LINE, SECONDS_BETWEEN_LINES = 2.0, 5.0


def progress(items: Iterable[T], total: int, task: str, unit: str = "pictures", step: int = 1) -> Iterator[T]:
    """Yield `items` and report how many of `total` units are done: as a bar on a terminal, as lines in a log.

    Args:
        items: each is done when the next one is asked for.
        total: the number of units.
        task: its name, such as "extract".
        unit: its name, in the plural.
        step: units per item; the last item may have fewer.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(desc=task, total=total, unit=f" {unit}") as bar:
            for item in items:
                yield item
                bar.update(min(step, total - bar.n))
        return
    started = time.monotonic()
    after, following = started, started + SECONDS_BEFORE_LINE
    for number, item in enumerate(items, start=1):
        yield item
        now, done = time.monotonic(), min(number * step, total)
        if number == 1:
            after = now  # the first item may be slow: TensorFlow traces
        elif now > following and done < total:
            following = now + SECONDS_BETWEEN_LINES
            rate = (done - step) / max(now - after, 1e-9)
            left = clock((total - done) / rate)
            print(f"{task}: {done:,} of {total:,} {unit} ({rate:,.{rate < 10:d}f} a second, {left} left)", flush=True)
    print(f"{task}: {total:,} {unit} in {time.monotonic() - started:.1f} s", flush=True)


def clock(seconds: float) -> str:
    """Such as 02:55 or 1:02:55."""
    from tqdm import tqdm

    return tqdm.format_interval(seconds)


def printable(text: object, limit: int | None = None) -> str:
    """A text from outside as one line that does nothing to a terminal, as `ls` shows names.

    Args:
        text: a file name, a class, a library's message; may hold line breaks, escape sequences or marks that change the
            direction of writing, which become question marks.
        limit: characters, beyond which the text is cut.
    """
    shown = str(text)
    shown = shown if limit is None or len(shown) <= limit else f"{shown[: limit - 1]}…"
    return replaced(shown, "?")


def replaced(text: str, substitute: str, kept: str = "") -> str:
    """A text with `substitute` for each character that does something instead of being seen, except those in `kept`."""
    if text.isprintable():
        return text
    return "".join(letter if letter in kept or _is_seen(letter) else substitute for letter in text)


def _is_seen(character: str) -> bool:
    """Letters, signs, spaces, and what joins letters and emoji."""
    return character.isprintable() or unicodedata.category(character) == "Zs" or character in JOINERS


class Printable:
    """A text stream on which only line breaks and tabs do something: names in what is printed come from outside."""

    def __init__(self, stream: TextIO) -> None:
        self.unfiltered = stream

    def write(self, text: str) -> int:
        """Write what can be seen of the text."""
        return self.unfiltered.write(replaced(text, "?", kept="\n\t"))

    def __getattr__(self, name: str) -> Any:
        """All else is the stream's."""
        return getattr(self.unfiltered, name)


def unfiltered(stream: TextIO) -> TextIO:
    """The stream as it was, for output in a format that has its own way to write such names."""
    return getattr(stream, "unfiltered", stream)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align rows of equal length in columns; the first row is the heading."""
    from tabulate import tabulate

    lines = tabulate(rows, tablefmt="plain", disable_numparse=True, preserve_whitespace=True).splitlines()
    return "\n".join(line.rstrip() for line in lines)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Discard everything written to stderr, including what native code writes past `sys.stderr`."""
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
