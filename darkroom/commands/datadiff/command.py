"""List which pictures differ between two versions of the data.

    python -m darkroom datadiff HEAD~1
    python -m darkroom datadiff main try --list 50 --csv changes.csv

Pictures may have been added, removed or renamed, or have another label or split. A and B are each a git revision, a DVC
experiment, or `workspace`: what the last `dvc repro` here recorded. Nothing is checked out. Pictures are identified by
content: one that moved from cat/ to dog/ has another label, and one whose pixels changed counts as removed and added.

Reads   dvc.lock of A and of B, and their lists of files from DVC's cache or remote
Writes  with --csv, every change
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
    """Compare two versions, print the changes, and write them to a CSV file if requested."""
    if shown < 0:
        raise UserError(f"--list is {shown}, but must be 0 or more.")
    versions = read(first), read(second)
    split = all(version.split is not None for version in versions)
    before, after = (pictures(version.raw, version.split if split else None) for version in versions)
    changes = differences(before, after)
    if versions[0] == versions[1]:
        print(f"The same data: {RAW} {versions[0].raw_md5}" + (f", {SPLIT} {versions[0].split_md5}." if split else "."))
    else:
        print(f"A is {first}, B is {second}.\n\n{hashes(*versions)}\n\n{summary(changes)}\n")
        print(classes(before, after, changes))
    if changes and shown:
        print()
        print(table([("change", "picture", "split"), *(row(change) for change in changes[:shown])]))
        if len(changes) > shown:
            print(f"… and {len(changes) - shown:,} more: --list N shows more, --csv FILE writes all of them.")
    if not split:
        unsplit = second if versions[0].split else first
        print(f"Splits are not compared: {unsplit} has no {SPLIT} of its pictures yet.")
    if file:
        header = ("change", "path_a", "path_b", "class_a", "class_b", "split_a", "split_b", "md5")
        write_csv(file, header, map(record, changes))


def hashes(before: Version, after: Version) -> str:
    """The MD5 of both folders in both versions, as in dvc.lock."""
    rows = [("", "A", "B")]
    for folder, a, b in ((RAW, before.raw_md5, after.raw_md5), (SPLIT, before.split_md5, after.split_md5)):
        rows.append((str(folder), a or "none", "the same" if a == b else b or "none"))
    return table(rows)


def summary(changes: list[Change]) -> str:
    """The number of changes of each kind; a picture may count as two, such as label and split."""
    counts = Counter(kind for change in changes for kind in change.kinds)
    return table([(kind, f"{counts[kind]:,}") for kind in KINDS])


def classes(before: Counter[Picture], after: Counter[Picture], changes: list[Change]) -> str:
    """The number of pictures of each class before and after; unchanged classes are only counted."""
    totals = [Counter(picture.label for picture in side.elements()) for side in (before, after)]
    pairs = [(change.before, change.after) for change in changes]
    moves = {
        "added": Counter(b.label for a, b in pairs if b and not a),
        "removed": Counter(a.label for a, b in pairs if a and not b),
        "label changed to it": Counter(b.label for a, b in pairs if a and b and a.label != b.label),
        "label changed from it": Counter(a.label for a, b in pairs if a and b and a.label != b.label),
    }
    changed = sorted(set().union(*moves.values()))
    unchanged = len((totals[0] | totals[1]).keys() - set(changed))
    if not changed:
        return f"All {unchanged:,} classes have the same pictures."
    rows = [("class", "A", "B", *moves)]
    for label in changed:
        rows.append((label, *(f"{counts[label]:,}" for counts in (*totals, *moves.values()))))
    return table(rows) + (f"\n{unchanged:,} other classes have the same pictures." if unchanged else "")


def row(change: Change) -> tuple[str, str, str]:
    """A row of the printed list."""
    paths = " -> ".join(dict.fromkeys(filter(None, change.paths)))
    splits = " -> ".join(dict.fromkeys(picture.split for picture in (change.before, change.after) if picture))
    return ", ".join(change.kinds), paths, splits


def record(change: Change) -> tuple[str, ...]:
    """A row of the CSV file."""
    sides = [picture or Picture("", "", "", "") for picture in (change.before, change.after)]
    labels, _, md5s, splits = zip(*sides, strict=True)
    return (", ".join(change.kinds), *change.paths, *labels, *splits, max(md5s))


ARGUMENTS: dict[str, dict[str, Any]] = {
    "first": {"metavar": "A", "help": "the earlier version"},
    "second": {"metavar": "B", "nargs": "?", "default": WORKSPACE, "help": "the later version (workspace)"},
    "--list": {"dest": "shown", "metavar": "N", "type": int, "default": 20, "help": "number of changes to print (20)"},
    "--csv": {"dest": "file", "metavar": "FILE", "type": Path, "help": "file to write all changes to"},
}
