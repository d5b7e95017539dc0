"""What a model says of pictures, written as it comes: a table for people, CSV and JSON for programs."""

import csv
import io
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from tqdm import tqdm

from darkroom.core.errors import UserError

FORMATS = ("table", "json", "csv")
READER_GONE = 141  # the exit code of whatever wrote into a pipe that nobody reads any more


class Answer(NamedTuple):
    """What the model says of a picture, the most probable classes first, or why there is nothing to say."""

    path: Path
    top: list[tuple[str, float]]
    error: UserError | None = None


def write(
    answers: Iterable[Answer], form: str, out: TextIO, paths: Sequence[Path], classes: Sequence[str], top: int
) -> int:
    """Write answers to `out` in one of `FORMATS`, and on stderr a line for each picture that could not be read.

    Args:
        answers: one for each of `paths`.
        form: table and csv are written row by row; json at the end.
        out: a file name may be of any bytes; CSV has them as they are, JSON as an escape.
        paths: all that will come, for the width of the table.
        classes: all names, for the same.
        top: how many classes each answer has.

    Returns:
        How many pictures could not be read.
    """
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(encoding="utf-8", errors="backslashreplace" if form == "json" else "surrogateescape")
    failed: list[Answer] = []
    noted = _noted(answers, failed)
    try:
        if form == "json":
            print(json.dumps([_entry(one) for one in noted], indent=2, ensure_ascii=False), file=out, flush=True)
        elif form == "csv":
            _csv(noted, out, top)
        else:
            _table(noted, out, paths, classes)
    except BrokenPipeError:  # the reader has seen enough, as `head` does; Python would write once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        sys.exit(READER_GONE)
    return len(failed)


def _noted(answers: Iterable[Answer], failed: list[Answer]) -> Iterator[Answer]:
    """Pass answers on, keep those in `failed` that say why there is none."""
    for one in answers:
        if one.error:
            tqdm.write(f"predict: {_shown(one.path)}: {one.error}", file=sys.stderr)  # above the bar, if there is one
            failed.append(one)
        yield one


def _entry(one: Answer) -> dict[str, Any]:
    if one.error:
        return {"path": str(one.path), "error": str(one.error)}
    named = [{"label": label, "probability": probability} for label, probability in one.top]
    return {"path": str(one.path), **named[0], "top": named}


def _csv(answers: Iterable[Answer], out: TextIO, top: int) -> None:
    """The next classes are label_2 and so on."""
    writer = csv.writer(out, lineterminator="\n")
    pairs = [(f"label_{place}", f"probability_{place}") for place in range(2, top + 1)]
    writer.writerow(["path", "label", "probability", *itertools.chain(*pairs), "error"])
    for one in answers:
        cells = itertools.chain(*one.top) if one.top else [""] * 2 * top
        writer.writerow([one.path, *cells, one.error or ""])
        out.flush()


def _table(answers: Iterable[Answer], out: TextIO, paths: Iterable[Path], classes: Iterable[str]) -> None:
    """What could not be read is not in it."""
    wide = [max(map(len, ["picture", *map(_shown, paths)])), max(map(len, ["label", *map(_shown, classes)]))]
    print(f"{'picture':{wide[0]}}  {'label':{wide[1]}}  probability  then", file=out, flush=True)
    for one in answers:
        if one.top:
            (label, probability), *others = one.top
            then = ", ".join(f"{_shown(name)} {value:.4f}" for name, value in others)
            row = f"{_shown(one.path):{wide[0]}}  {_shown(label):{wide[1]}}  {probability:11.4f}  {then}"
            print(row.rstrip(), file=out, flush=True)


def _shown(name: Path | str) -> str:
    """A name without characters that would do something to a terminal, as `ls` shows it."""
    return "".join(character if character.isprintable() else "?" for character in str(name))
