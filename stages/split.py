"""Divide the pictures into train, val and test; parts that are official stay as they are, and twins stay together.

Reads   data/raw, reports/groups.csv
Writes  data/split/{train,val,test}/<class>/, reports/split.csv (picture, class, split), reports/split.json (counts, and
        the pictures that were left out because a twin of theirs is held out)
Params  base.seed, split
"""

from collections import Counter
from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.core.files import link_or_copy, read_csv, whole_folder, write_csv, write_json
from darkroom.core.params import Base
from darkroom.core.paths import GROUPS, RAW, SPLIT, SPLIT_REPORT, SPLIT_SUMMARY
from darkroom.images.folders import PARTS, labelled
from darkroom.pipeline.script import run
from darkroom.split import groups as leaks
from darkroom.split import methods
from darkroom.split.groups import Assignment
from darkroom.split.params import Params


def main(base: Base, params: Params) -> None:
    """Split, mend, check, link, and list which picture is where."""
    rows = {row["picture"]: row for row in read_csv(GROUPS)}
    assignment, gone, together = split(RAW, rows, params, base.seed)
    counts = check(assignment)
    if len(gone) > len(assignment):
        raise UserError(
            f"{len(gone):,} pictures are left out, since twins are held out, and only {len(assignment):,} are used: "
            "give split.group, which keeps such pictures together, or use another split.method."
        )
    with whole_folder(SPLIT) as folder:
        for name, part in assignment.items():
            link_or_copy((RAW / name).resolve(), folder / _place(name, part))
    where = sorted(((_place(name, part), name.split("/")[1], part) for name, part in assignment.items()), key=_order)
    write_csv(SPLIT_REPORT, ("picture", "class", "split"), where)
    left_out = [{"picture": name, "because_of": twin} for name, twin in sorted(gone.items())]
    report = {"method": params.method, "classes": counts, "groups": len(together), "left_out": left_out}
    write_json(SPLIT_SUMMARY, report)
    print(
        "split: " + ", ".join(f"{sum(part == one for one in assignment.values()):,} {part}" for part in PARTS), end=""
    )
    print(f", {len(gone):,} left out: a twin is held out, see {SPLIT_SUMMARY}" if gone else "")


def _place(name: str, part: str) -> str:
    return "/".join((part, *name.split("/")[1:]))


def _order(row: tuple[str, str, str]) -> tuple[int, str]:
    return PARTS.index(row[2]), row[0]


def split(
    raw: Path, rows: dict[str, dict[str, str]], params: Params, seed: int
) -> tuple[Assignment, dict[str, str], list[list[str]]]:
    """Assign every picture of `raw` to a part.

    Args:
        raw: has train, and official val or test.
        rows: of reports/groups.csv, by picture: its perceptual hash and its group of near-duplicates.
        params: of this stage.
        seed: of everything random.

    Returns:
        The assignment, the pictures that are in no part with the twin that is the reason, and the groups.
    """
    names = [
        path.relative_to(raw).as_posix() for part in PARTS if (raw / part).is_dir() for path, _ in labelled(raw / part)
    ]
    official = [part for part in PARTS[1:] if (raw / part).is_dir()]
    if params.method == "kfold" and "val" in official:
        raise UserError("split.method kfold makes val itself, but the pictures come with an official val: use ratio.")
    unnamed = [name for name in names if params.group and not leaks.named(params.group, name)]
    if unnamed == names:
        raise UserError(f"split.group {params.group} is in no picture's name, such as {names[0].rsplit('/', 1)[1]}.")
    if unnamed:
        print(f"split: {len(unnamed):,} pictures have no match of split.group in their names, such as {unnamed[0]}")
    near = {name: row["group"] for name, row in rows.items()} if params.near_duplicates_together else {}
    together = leaks.groups(near, params.group, names)
    drawn = [name for name in names if name.startswith("train/")]
    shares = {part: share for part, share in zip(PARTS, params.ratio, strict=True) if part not in official}
    shares = {part: share / sum(shares.values()) for part, share in shares.items()}
    numbers = dict(zip(PARTS[1:], params.fixed, strict=True)) if params.fixed else {}
    numbers = {part: number for part, number in numbers.items() if part not in official}
    if params.method == "stable":
        keys = {name: leaks.named(params.group, name) or rows[name]["hash"] for name in drawn}
        assignment = methods.by_hash(keys, shares, seed)
    elif params.method == "ordered":
        assignment = methods.by_order(drawn, shares, numbers, params.hold_out)
    else:
        fold = (params.folds, params.fold) if params.method == "kfold" else None
        numbers = numbers if params.method == "fixed" else {}
        assignment = methods.by_split_folders(raw / "train", shares, numbers, fold, together, seed)
    assignment |= {name: name.split("/")[0] for name in names if not name.startswith("train/")}
    gone = leaks.mend(assignment, together, official, move=params.method != "stable")
    leaks.check(assignment, together)
    return assignment, gone, together


def check(assignment: Assignment) -> dict[str, dict[str, int]]:
    """Pictures of each class in each part.

    Raises:
        UserError: a class has no picture in a part, since it is too small or an official part has classes of its own.
    """
    counts = Counter((name.split("/")[1], part) for name, part in assignment.items())
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


if __name__ == "__main__":
    run("split", main)
