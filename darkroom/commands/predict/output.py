"""Write predictions as they come: a table for people, CSV and JSON for programs."""

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
from darkroom.core.files import csv_line
from darkroom.core.terminal import printable

FORMATS = ("table", "json", "csv")
BROKEN_PIPE = 141  # the exit code of a program whose reader has left


class Prediction(NamedTuple):
    """The most probable classes of a picture, the most probable first, or the reason why there are none."""

    path: Path
    top: list[tuple[str, float]]
    error: UserError | None = None


def write(
    predictions: Iterable[Prediction], form: str, out: TextIO, paths: Sequence[Path], classes: Sequence[str], top: int
) -> int:
    """Write predictions to `out` in one of `FORMATS`, and to stderr a line for each picture that could not be read.

    Args:
        predictions: one for each of `paths`.
        form: table and csv are written row by row, json at the end.
        out: file names may contain any bytes; CSV has them unchanged (see `csv_line`), JSON has them escaped.
        paths: of all pictures, for the width of the table.
        classes: all class names, for the same.
        top: number of classes in each prediction.

    Returns:
        The number of pictures that could not be read.
    """
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(encoding="utf-8", errors="backslashreplace" if form == "json" else "surrogateescape")
    failed: list[Prediction] = []
    reported = _report_errors(predictions, failed)
    try:
        if form == "json":
            print(json.dumps([_entry(item) for item in reported], indent=2, ensure_ascii=False), file=out, flush=True)
        elif form == "csv":
            _csv(reported, out, top)
        else:
            _table(reported, out, paths, classes)
    except BrokenPipeError:  # the reader has left, as `head` does; without this Python would flush again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        sys.exit(BROKEN_PIPE)
    return len(failed)


def _report_errors(predictions: Iterable[Prediction], failed: list[Prediction]) -> Iterator[Prediction]:
    """Yield all predictions; print those that failed to stderr and collect them in `failed`."""
    for item in predictions:
        if item.error:
            tqdm.write(
                f"predict: {printable(item.path)}: {printable(item.error)}", file=sys.stderr
            )  # above a progress bar
            failed.append(item)
        yield item


def _entry(item: Prediction) -> dict[str, Any]:
    if item.error:
        return {"path": str(item.path), "error": str(item.error)}
    top = [{"label": label, "probability": probability} for label, probability in item.top]
    return {"path": str(item.path), **top[0], "top": top}


def _csv(predictions: Iterable[Prediction], out: TextIO, top: int) -> None:
    """Columns path, label, probability, label_2, probability_2, …, error."""
    pairs = [(f"label_{rank}", f"probability_{rank}") for rank in range(2, top + 1)]
    out.write(csv_line(["path", "label", "probability", *itertools.chain(*pairs), "error"]))
    for item in predictions:
        cells = itertools.chain(*item.top) if item.top else [""] * 2 * top
        out.write(csv_line([item.path, *cells, str(item.error or "")]))
        out.flush()


def _table(predictions: Iterable[Prediction], out: TextIO, paths: Iterable[Path], classes: Iterable[str]) -> None:
    """Rows of the pictures that could be read."""
    path_width = max(map(len, ["picture", *map(printable, paths)]))
    label_width = max(map(len, ["label", *map(printable, classes)]))
    print(f"{'picture':{path_width}}  {'label':{label_width}}  probability  then", file=out, flush=True)
    for item in predictions:
        if item.top:
            (label, probability), *others = item.top
            then = ", ".join(f"{printable(name)} {value:.4f}" for name, value in others)
            row = f"{printable(item.path):{path_width}}  {printable(label):{label_width}}  {probability:11.4f}  {then}"
            print(row.rstrip(), file=out, flush=True)
