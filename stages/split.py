"""Divide the pictures into train, val and test with split-folders; parts that are official stay as they are.

Reads   data/raw
Writes  data/split/{train,val,test}/<class>/, reports/split.csv (picture, class, split)
Params  base.seed, split
"""

import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from stages.common.errors import StageError
from stages.common.files import link_or_copy, whole_folder, write_csv
from stages.common.params import Base, Section
from stages.common.paths import RAW, SPLIT, SPLIT_REPORT
from stages.common.pictures import PARTS, Picture, labelled
from stages.common.stage import run


class Params(Section):
    """Section `split` of params.yaml."""

    method: Literal["ratio"]
    ratio: list[float] = Field(min_length=3, max_length=3)

    @field_validator("ratio")
    @classmethod
    def _shares(cls, ratio: list[float]) -> list[float]:
        if min(ratio) < 0 or ratio[0] == 0 or not math.isclose(sum(ratio), 1, abs_tol=1e-6):
            raise ValueError("train, val and test must be shares that add up to 1, the first more than 0")
        return ratio


def main(base: Base, params: Params) -> None:
    """Split, write, and list which picture is where."""
    with whole_folder(SPLIT) as folder:
        split(RAW, folder, params.ratio, base.seed)
        pictures = {part: labelled(folder / part) for part in PARTS}
        check(pictures)
        rows = [(path.relative_to(folder).as_posix(), label, part) for part in PARTS for path, label in pictures[part]]
    write_csv(SPLIT_REPORT, ("picture", "class", "split"), rows)
    print("split: " + ", ".join(f"{len(pictures[part]):,} {part}" for part in PARTS))


def split(raw: Path, folder: Path, ratio: list[float], seed: int) -> None:
    """Link every picture of `raw` into `folder/{train,val,test}/<class>/`.

    `raw/train` is divided among the parts that `raw` does not have already, in proportion to their shares.
    """
    import splitfolders

    official = [part for part in PARTS[1:] if (raw / part).is_dir()]
    shares = {part: share for part, share in zip(PARTS, ratio, strict=True) if part not in official}
    whole = sum(shares.values())
    with tempfile.TemporaryDirectory(prefix=".", suffix=".partial", dir=folder.parent) as scratch:
        if len(shares) > 1:
            # split-folders names its second part val whatever it stands for, so its names are mapped to ours.
            names = dict(zip(PARTS, shares, strict=False))
            fractions = tuple(share / whole for share in shares.values())
            splitfolders.ratio(str(raw / "train"), scratch, seed=seed, ratio=fractions, move="symlink")
            parts = {names[part]: Path(scratch) / part for part in names}
        else:
            parts = {"train": raw / "train"}
        for part, source in {**parts, **{part: raw / part for part in official}}.items():
            for path, label in labelled(source):
                link_or_copy(path.resolve(), folder / part / label / path.name)


def check(pictures: dict[str, list[Picture]]) -> None:
    """Every class of train is in every part, and no other class is.

    Raises:
        StageError: a class is too small to be split, or an official part has classes of its own.
    """
    counts = {part: Counter(label for _, label in pictures[part]) for part in PARTS}
    total = sum(counts.values(), Counter())
    for label in sorted(total):
        for part in PARTS:
            if not counts[part][label]:
                raise StageError(
                    f"class {label} has {total[label]} pictures and none of them falls into {part}: add pictures, "
                    "raise that part's share in split.ratio, or remove the class."
                )
    if len(total) < 2:
        raise StageError(f"there is only the class {next(iter(total))}: a classifier needs at least two.")


if __name__ == "__main__":
    run("split", main)
