"""Say in what two versions of the data differ: which pictures came, went, changed their label, name or split.

    python -m darkroom datadiff HEAD~1
    python -m darkroom datadiff main try --list 50 --csv changes.csv

A and B are each a git revision, a DVC experiment, or `workspace`: what the last `dvc repro` here recorded. Nothing is
checked out. A picture is told by its content, so that one which moved from cat/ to dog/ has changed its label, and
one whose pixels changed is another picture: one removed, one added.

Reads   dvc.lock of A and of B, and their lists of files in DVC's cache or remote
Writes  with --csv every change
"""

from collections import Counter
from pathlib import Path
from typing import Any

from darkroom.commands.datadiff.changes import KINDS, Change, differences
from darkroom.commands.datadiff.versions import WORKSPACE, Picture, Version, pictures, read
from darkroom.core.errors import UserError
from darkroom.core.files import write_csv
from darkroom.core.paths import RAW, SPLIT
from darkroom.core.terminal import table


def main(first: str, second: str, shown: int, file: Path | None) -> None:
    """Read both, compare, print, and write what was asked for."""
    if shown < 0:
        raise UserError(f"--list is {shown}, but must be 0 or more.")
    one, two = read(first), read(second)
    split = None not in (one.split, two.split)
    a, b = (pictures(version.raw, version.split if split else None) for version in (one, two))
    changes = differences(a, b)
    if one == two:
        print(f"The same data: {RAW} {one.raw_md5}" + (f", {SPLIT} {one.split_md5}." if split else "."))
    else:
        print(f"A is {first}, B is {second}.\n\n{versions(one, two)}\n\n{summary(changes)}\n")
        print(classes(a, b, changes))
    if changes and shown:
        print()
        print(table([("change", "picture", "split"), *(row(change) for change in changes[:shown])]))
        if len(changes) > shown:
            print(f"… and {len(changes) - shown:,} more: --list N shows more, --csv FILE writes all of them.")
    if not split:
        print(f"Splits are not compared: {second if one.split else first} has no {SPLIT} of its pictures yet.")
    if file:
        header = ("change", "path_a", "path_b", "class_a", "class_b", "split_a", "split_b", "md5")
        write_csv(file, header, map(record, changes))


def versions(one: Version, two: Version) -> str:
    """The md5 of both folders on both sides, as dvc.lock has them."""
    rows = [("", "A", "B")]
    for folder, a, b in ((RAW, one.raw_md5, two.raw_md5), (SPLIT, one.split_md5, two.split_md5)):
        rows.append((str(folder), a or "none", "the same" if a == b else b or "none"))
    return table(rows)


def summary(changes: list[Change]) -> str:
    """How many pictures changed in each way; one may have changed its label and its split."""
    counts = Counter(kind for change in changes for kind in change.kinds)
    return table([(kind, f"{counts[kind]:,}") for kind in KINDS])


def classes(a: Counter[Picture], b: Counter[Picture], changes: list[Change]) -> str:
    """Pictures of each class before and after; classes that no picture joined or left are only counted."""
    before, after = (Counter(picture.label for picture in side.elements()) for side in (a, b))
    both = [(change.before, change.after) for change in changes]
    joined = {
        "added": Counter(b.label for a, b in both if b and not a),
        "removed": Counter(a.label for a, b in both if a and not b),
        "label changed to it": Counter(b.label for a, b in both if a and b and a.label != b.label),
        "label changed from it": Counter(a.label for a, b in both if a and b and a.label != b.label),
    }
    moved = sorted(set().union(*joined.values()))
    same = len((before | after).keys() - set(moved))
    if not moved:
        return f"All {same:,} classes have the same pictures."
    rows = [("class", "A", "B", *joined)]
    for label in moved:
        rows.append((label, *(f"{counts[label]:,}" for counts in (before, after, *joined.values()))))
    return table(rows) + (f"\n{same:,} other classes have the same pictures." if same else "")


def row(change: Change) -> tuple[str, str, str]:
    """A line of the list."""
    paths = " -> ".join(dict.fromkeys(filter(None, change.paths)))
    splits = " -> ".join(dict.fromkeys(one.split for one in (change.before, change.after) if one))
    return ", ".join(change.kinds), paths, splits


def record(change: Change) -> tuple[str, ...]:
    """A row of the CSV file."""
    sides = [one or Picture("", "", "", "") for one in (change.before, change.after)]
    labels, _, md5s, splits = zip(*sides, strict=True)
    return (", ".join(change.kinds), *change.paths, *labels, *splits, max(md5s))


ARGUMENTS: dict[str, dict[str, Any]] = {
    "first": {"metavar": "A", "help": "the one that is compared with"},
    "second": {"metavar": "B", "nargs": "?", "default": WORKSPACE, "help": "the other one (workspace)"},
    "--list": {"dest": "shown", "metavar": "N", "type": int, "default": 20, "help": "changes shown (20)"},
    "--csv": {"dest": "file", "metavar": "FILE", "type": Path, "help": "where all of them are written"},
}
