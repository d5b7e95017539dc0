"""People's decisions on labels: `data/decisions.csv`, which git versions, compares and merges.

Each line is one decision on one picture, which is named by the MD5 of its file. Lines are only ever added, so that
branches merge by keeping both sides' lines (`.gitattributes` makes git do so), and the pictures stay as they are. What
holds for a picture is the latest line: its label, that it is left out, or, after `revert`, whatever the source says.
"""

import errno
import fcntl
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from darkroom.core.errors import UserError
from darkroom.core.files import csv_line, parse_csv
from darkroom.core.terminal import printable, replaced

# Of a picture with a label: it is right, or another is; of one without, its label. `drop` leaves a picture out, and
# `revert` takes back all that was decided on it.
Kind = Literal["confirm", "relabel", "label", "drop", "revert"]
KINDS: tuple[Kind, ...] = get_args(Kind)
WITH_LABEL = ("confirm", "relabel", "label")


class Decision(NamedTuple):
    """A line of the ledger."""

    md5: str  # of the picture's file
    decision: Kind
    label: str  # of the kinds in WITH_LABEL; otherwise empty
    author: str
    time: str  # UTC, ISO 8601
    note: str

    @property
    def outcome(self) -> tuple[bool, str]:
        """What two people may disagree about: whether the picture is used, and its label."""
        return self.decision != "drop", self.label


def read(path: Path) -> list[Decision]:
    """The lines of a ledger in their order in time; none if there is no file.

    Raises:
        UserError: names the line that is not a decision.
    """
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # `append` may be in the middle of a line
            text = file.read().decode().replace("\ufeff", "")  # the mark that some editors begin a file with
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text in UTF-8: restore it with `git checkout {path}`.") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
            raise UserError(
                f"{path}, line {number}: delete git's mark of a conflict, and keep the lines of both sides."
            )
    lines = [line for line in text.splitlines(keepends=True) if line.strip()]
    if not lines:
        return []
    lines = lines[:1] + [line for line in lines[1:] if line.strip() != lines[0].strip()]  # a merge may repeat it
    try:
        rows = parse_csv("".join(lines), Decision._fields)
    except ValueError as error:
        raise UserError(f"{path}: {error}. Correct it, or restore it with `git checkout {path}`.") from None
    decisions = set()
    for number, row in enumerate(rows, start=1):
        decision = Decision(*(row[name].strip() for name in Decision._fields))  # type: ignore[arg-type]
        if fault := _fault(decision):
            raise UserError(f"{path}, row {number}: {fault}.")
        decisions.add(decision)  # a merge may repeat a line
    return sorted(decisions, key=lambda each: (datetime.fromisoformat(each.time), each))


def _fault(decision: Decision) -> str | None:
    if len(decision.md5) != 32 or set(decision.md5) - set("0123456789abcdef"):
        return f"md5 is {printable(decision.md5, 40)!r}, but must be 32 digits from 0 to f"
    if decision.decision not in KINDS:
        return f"decision is {printable(decision.decision, 40)!r}, but must be one of {', '.join(KINDS)}"
    if decision.decision in WITH_LABEL and (fault := label_fault(decision.label)):
        return f"label {printable(decision.label, 40)!r} {fault}"
    if decision.decision not in WITH_LABEL and decision.label:
        return f"{decision.decision} takes no label, but it is {printable(decision.label, 40)!r}"
    try:
        if datetime.fromisoformat(decision.time).utcoffset() is None:
            raise ValueError
    except ValueError:
        return f"time is {printable(decision.time, 40)!r}, but must be like 2026-01-31T12:00:00Z"
    return None


def label_fault(label: str) -> str | None:
    """Why a text cannot be a class, whose pictures lie in a folder of its name; None if it can."""
    if not label or label != label.strip():
        return "is empty or begins or ends with a space"
    if "/" in label or label.startswith(".") or replaced(label, "_") != label:
        return "cannot be the name of a folder: use neither / nor a leading dot nor control characters"
    return "is too long" if len(label.encode()) > 255 else None


def append(path: Path, decision: Decision) -> None:
    """Add a line, which is on the disk when this returns; other processes may add theirs at the same time.

    Raises:
        UserError: the line would not be a decision.
        OSError: it could not be written, and the file is as it was.
    """
    if fault := _fault(decision):
        raise UserError(f"{fault}.")
    line = csv_line(replaced(cell, " ") for cell in decision)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        # Also an append of one `write` grows a file page by page, which others see, and two may find it empty.
        fcntl.flock(file, fcntl.LOCK_EX)
        size = file.seek(0, os.SEEK_END)
        if not size:
            line = csv_line(Decision._fields) + line
        elif os.pread(descriptor, 1, size - 1) != b"\n":  # an editor left it out
            line = "\n" + line
        try:
            if file.write(line.encode()) < len(line.encode()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(descriptor)
        except OSError:
            file.truncate(size)
            raise


def now() -> str:
    """The time for a new line. Lines are ordered by it, so that two within a second must differ."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def holding(lines: Sequence[Decision]) -> dict[str, Decision]:
    """The decision that holds for each picture, by its MD5: the latest, unless that reverts all earlier ones."""
    latest = {line.md5: line for line in lines}
    return {md5: line for md5, line in latest.items() if line.decision != "revert"}


def contradictions(lines: Sequence[Decision]) -> dict[str, list[Decision]]:
    """Pictures on which people disagree, by MD5: the latest decision of each of them, in their order in time.

    The last of these holds until somebody reverts it or they agree.
    """
    by_author: dict[str, dict[str, Decision]] = {}
    for line in lines:
        authors = by_author.setdefault(line.md5, {})
        if line.decision == "revert":
            authors.clear()
        else:
            authors.pop(line.author, None)
            authors[line.author] = line
    return {
        md5: list(authors.values())
        for md5, authors in by_author.items()
        if len({line.outcome for line in authors.values()}) > 1
    }
