"""Ways to divide the pictures of the part train. Pictures are named by their path below data/raw."""

import contextlib
import hashlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from darkroom.core.errors import UserError
from darkroom.core.files import natural_key, scratch_folder
from darkroom.images.folders import PARTS, class_folders, labelled
from darkroom.split.groups import STRICTEST_FIRST, Assignment


def by_hash(keys: Mapping[str, str], shares: Mapping[str, float], seed: int) -> Assignment:
    """Each picture by a hash of its key and the seed alone: what comes or goes besides it does not move it.

    Args:
        keys: picture to key; pictures with the same key fall into the same part.
        shares: part to share, which add up to 1.
        seed: another one draws anew.
    """
    assignment = {}
    for name, key in keys.items():
        left = int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:8], "big") / 2**64
        for part in STRICTEST_FIRST:
            left -= shares.get(part, 0)
            if left < 0 or part == "train":
                assignment[name] = part
                break
    return assignment


def by_order(
    names: Sequence[str], shares: Mapping[str, float], numbers: Mapping[str, int], hold_out: Literal["first", "last"]
) -> Assignment:
    """All pictures in the order of their file names, which is that of the rows in a set: one end is held out.

    Args:
        names: the pictures.
        shares: part to share, for parts without a number.
        numbers: part to number of pictures.
        hold_out: which end; the outermost pictures are test.

    Raises:
        UserError: nothing is left to train on.
    """
    ordered = sorted(names, key=lambda name: (natural_key(name.rsplit("/", 1)[1]), name))
    counts = {part: numbers.get(part, round(share * len(ordered))) for part, share in shares.items() if part != "train"}
    held_out = [part for part in STRICTEST_FIRST for _ in range(counts.get(part, 0))]
    if len(held_out) >= len(ordered):
        raise UserError(f"{len(held_out)} of {len(ordered)} pictures are held out: lower split.fixed or split.ratio's.")
    in_turn = held_out + ["train"] * (len(ordered) - len(held_out))
    return dict(zip(ordered, in_turn if hold_out == "first" else reversed(in_turn), strict=True))


def by_split_folders(
    train: Path,
    shares: Mapping[str, float],
    numbers: Mapping[str, int],
    fold: tuple[int, int] | None,
    together: Sequence[Sequence[str]],
    seed: int,
) -> Assignment:
    """Drawn by split-folders class by class; of groups, those members that are in one class stay together.

    Args:
        train: the folder with the class folders.
        shares: part to share.
        numbers: part to pictures of each class; empty to go by the shares.
        fold: (folds, which of them, from 1, is val), after test was set aside by its share; or None.
        together: groups of pictures.
        seed: another one draws anew.

    Raises:
        UserError: a class has fewer pictures than the numbers ask for.
    """
    import splitfolders

    group_of = {name: number for number, group in enumerate(together) for name in group}

    def grouped(files: list[Path]) -> list[tuple[Path, ...]]:
        groups: dict[int | Path, list[Path]] = {}
        for file in sorted(files):
            groups.setdefault(group_of.get(f"train/{file.parent.name}/{file.name}", file), []).append(file)
        return [tuple(group) for group in groups.values()]

    how = {"seed": seed, "move": "symlink", "group": grouped}
    with (
        scratch_folder(train.parents[1] / "split") as links,
        contextlib.redirect_stderr(io.StringIO()),  # its own progress bar, for a second's work
    ):
        # split-folders calls its second part val whatever it stands for, so its names are mapped to ours.
        parts = {part: links / name for part, name in zip(shares, PARTS, strict=False)}
        if fold:
            parts = {part: links / "folds" / f"fold_{fold[1]}" / part for part in ("train", "val")}
            if "test" in shares:
                splitfolders.ratio(train, links, ratio=(1 - shares["test"], shares["test"]), **how)
                train, parts["test"] = links / "train", links / "val"
            splitfolders.kfold(train, links / "folds", k=fold[0], **how)
        elif len(shares) == 1:
            parts = {"train": train}
        elif numbers:
            try:
                splitfolders.fixed(train, links, fixed=list(numbers.values()), **how)
            except ValueError:
                sizes = {folder.name: len(grouped(list(folder.iterdir()))) for folder in class_folders(train)}
                label = min(sizes, key=lambda name: sizes[name])
                raise UserError(
                    f"split.fixed asks for {sum(numbers.values())} pictures of each class, but {label} has "
                    f"{sizes[label]} (a group counts as one): lower it, or add pictures."
                ) from None
        else:
            splitfolders.ratio(train, links, ratio=tuple(shares.values()), **how)
        drawn = {f"train/{label}/{path.name}": part for part, place in parts.items() for path, label in labelled(place)}
    # A group in several classes was drawn once in each: all of it follows the class that has most of it.
    for group in together:
        members = [name for name in group if name in drawn]
        if members:
            most = Counter(name.split("/")[1] for name in members).most_common(1)[0][0]
            leader = next(name for name in members if name.split("/")[1] == most)
            drawn.update(dict.fromkeys(members, drawn[leader]))
    return drawn
