"""Divide the pictures into train, val and test; official parts stay as they are, and groups stay together.

Reads   data/raw, reports/groups.csv
Writes  data/split/{train,val,test}/<class>/, reports/split.csv (picture, class, split, md5), reports/split.json
        (counts, and the pictures that were left out because a near-duplicate is held out)
Params  base.seed, split
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from darkroom.core import outputs
from darkroom.core.errors import UserError
from darkroom.core.files import link_or_copy, read_csv, whole_folder, write_csv, write_json
from darkroom.core.params import Base
from darkroom.core.paths import GROUPS, RAW, SPLIT, SPLIT_REPORT, SPLIT_SUMMARY, UNLABELLED
from darkroom.images.folders import PARTS, labelled
from darkroom.pipeline.script import run
from darkroom.split.groups import Assignment, check_leaks, check_pattern, make_groups, resolve
from darkroom.split.methods import METHODS, Task
from darkroom.split.params import Params


class Result(NamedTuple):
    """A split of all pictures."""

    assignment: Assignment
    left_out: dict[str, str]  # pictures in no part, each with the held-out picture of its group
    groups: list[list[str]]


def main(base: Base, params: Params) -> None:
    """Split, check, link, and list the part of each picture."""
    table = read_csv(GROUPS, ("picture", "md5", "hash", "group", "source_group", "decision", "source"))
    rows = {row["picture"]: row for row in table}
    if len(rows) < len(table):
        raise outputs.damaged(GROUPS, "it lists a picture twice")
    assignment, left_out, groups = split(RAW, rows, params, base.seed)
    classes = class_counts(assignment)
    if len(left_out) > len(assignment):
        raise UserError(
            f"{len(left_out):,} pictures are left out, since near-duplicates are held out, and only "
            f"{len(assignment):,} are used: set split.group, which keeps such pictures together, or use another "
            "split.method."
        )
    with whole_folder(SPLIT) as folder:
        for name, part in assignment.items():
            link_or_copy(RAW / name, folder / _placed(name, part))
    listing = [(_placed(name, part), _label(name), part, rows[name]["md5"]) for name, part in assignment.items()]
    listing.sort(key=lambda row: (PARTS.index(row[2]), row[0]))
    write_csv(SPLIT_REPORT, ("picture", "class", "split", "md5"), listing)
    reasons = [{"picture": name, "because_of": held_out} for name, held_out in sorted(left_out.items())]
    report = {"method": params.method, "classes": classes, "groups": len(groups), "left_out": reasons}
    write_json(SPLIT_SUMMARY, report)
    counts = Counter(assignment.values())
    suffix = f", {len(left_out):,} left out: see {SPLIT_SUMMARY}" if left_out else ""
    print("split: " + ", ".join(f"{counts[part]:,} {part}" for part in PARTS) + suffix)


def split(raw: Path, rows: Mapping[str, Mapping[str, str]], params: Params, seed: int) -> Result:
    """Assign every picture of `raw` to a part.

    People's decisions on labels move no picture: it is drawn by the class that the source gives it, and those that were
    dropped are drawn, too. Pictures that had no label in the source are for train.

    Args:
        raw: has train, and official val or test.
        rows: of reports/groups.csv, by picture: its perceptual hash, its groups, and what was decided.
        params: of this stage.
        seed: of everything random.

    Raises:
        UserError: the params do not fit the pictures.
    """
    start = len(raw.as_posix()) + 1
    names = [path.as_posix()[start:] for part in PARTS if (raw / part).is_dir() for path, _ in labelled(raw / part)]
    kept = {name: row for name, row in rows.items() if row["decision"] != "drop"}
    if differing := sorted(kept.keys() ^ set(names)):
        raise outputs.damaged(GROUPS, f"{differing[0]} is only in it or only in {RAW}")
    official = [part for part in PARTS[1:] if (raw / part).is_dir()]
    if params.method == "kfold" and "val" in official:
        raise UserError("split.method kfold makes val itself, but the pictures come with an official val: use ratio.")
    # From here on, pictures have the names that they would have without decisions.
    final = {row["source"] or name: name for name, row in rows.items()}
    sources = {name: rows[final[name]] for name in sorted(final)}
    check_pattern(params.group, list(sources))
    near = {name: row["group"] for name, row in sources.items()} if params.near_duplicates_together else {}
    source = {name: row["source_group"] for name, row in sources.items()}
    groups = make_groups(near, source, params.group, sources)
    shares = {part: share for part, share in zip(PARTS, params.ratio, strict=True) if part not in official}
    task = Task(
        names=[name for name in sources if name.startswith("train/")],
        keys={name: source[name] or row["hash"] for name, row in sources.items()},
        groups=groups,
        shares={part: share / sum(shares.values()) for part, share in shares.items()},
        params=params,
        seed=seed,
    )
    assignment = METHODS[params.method](task)
    assignment |= {name: name.split("/")[0] for name in sources if not name.startswith("train/")}
    assignment |= {name: "train" for name in sources if name.startswith(f"{UNLABELLED}/")}
    # Pictures that were dropped have had their turn.
    assignment = {final[name]: part for name, part in assignment.items() if final[name] in kept}
    groups = [left for group in groups if len(left := [final[name] for name in group if final[name] in kept]) > 1]
    left_out = resolve(assignment, groups, official, move=params.method != "stable")
    check_leaks(assignment, groups)
    return Result(assignment, left_out, groups)


def class_counts(assignment: Assignment) -> dict[str, dict[str, int]]:
    """Pictures of each class in each part.

    Raises:
        UserError: a class has no picture in a part, since it is too small or an official part has classes of its own;
            or there is only one class.
    """
    counts = Counter((_label(name), part) for name, part in assignment.items())
    classes = sorted({label for label, _ in counts})
    table = {label: {part: counts[label, part] for part in PARTS} for label in classes}
    for label, row in table.items():
        for part in PARTS:
            if not row[part]:
                raise UserError(
                    f"class {label} has {sum(row.values())} pictures and none of them falls into {part}: add pictures, "
                    "change the split section of params.yaml in that part's favour, or remove the class."
                )
    if len(classes) < 2:
        raise UserError(f"there is only the class {classes[0]}: a classifier needs at least two.")
    return table


def _label(name: str) -> str:
    return name.split("/")[1]


def _placed(name: str, part: str) -> str:
    """The path below data/split."""
    return "/".join((part, *name.split("/")[1:]))


if __name__ == "__main__":
    run("split", main)
