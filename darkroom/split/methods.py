"""Methods to divide the pictures of the part train.

Each is a function of a `Task`, registered in `METHODS` by its name in `split.method`. Pictures are named by their path
below data/raw.
"""

import contextlib
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from darkroom.core.errors import UserError
from darkroom.core.files import natural_key, scratch_folder
from darkroom.images.folders import PARTS, class_folders, labelled
from darkroom.split.groups import STRICTEST_FIRST, Assignment, match_of

if TYPE_CHECKING:
    from darkroom.split.params import Params


class Task(NamedTuple):
    """Pictures to divide into the parts that are not official."""

    folder: Path  # has a folder for each class
    names: Sequence[str]
    hashes: Mapping[str, str]  # picture to perceptual hash
    groups: Sequence[Sequence[str]]  # pictures that belong together
    shares: Mapping[str, float]  # part to share; they add up to 1
    params: "Params"
    seed: int

    def numbers(self) -> dict[str, int]:
        """`split.fixed` by part, without official parts; empty if it is null."""
        numbers = zip(PARTS[1:], self.params.fixed or (), strict=False)
        return {part: number for part, number in numbers if part in self.shares}


def ratio(task: Task) -> Assignment:
    """Random, the share of each part in every class."""
    import splitfolders

    if len(task.shares) == 1:
        return _from_folders({"train": task.folder}, task)
    with _links(task) as links:
        splitfolders.ratio(task.folder, links, ratio=tuple(task.shares.values()), **_options(task))
        return _from_folders(_parts(links, task), task)


def fixed(task: Task) -> Assignment:
    """Random, `split.fixed` pictures of each class in val and test.

    Raises:
        UserError: a class has fewer pictures.
    """
    import splitfolders

    numbers = task.numbers()
    if not numbers:
        return ratio(task)
    with _links(task) as links:
        try:
            splitfolders.fixed(task.folder, links, fixed=list(numbers.values()), **_options(task))
        except ValueError:
            sizes = {
                folder.name: len(_grouped(list(folder.iterdir()), task.groups)) for folder in class_folders(task.folder)
            }
            label = min(sizes, key=lambda name: sizes[name])
            raise UserError(
                f"split.fixed asks for {sum(numbers.values())} pictures of each class, but {label} has "
                f"{sizes[label]} (a group counts as one): lower it, or add pictures."
            ) from None
        return _from_folders(_parts(links, task), task)


def kfold(task: Task) -> Assignment:
    """Test by its share, the rest in `split.folds` random folds, of which `split.fold` (from 1) is val."""
    import splitfolders

    with _links(task) as links:
        folder, test = task.folder, {}
        if share := task.shares.get("test"):
            splitfolders.ratio(folder, links, ratio=(1 - share, share), **_options(task))
            folder, test = links / "train", {"test": links / "val"}
        splitfolders.kfold(folder, links / "folds", k=task.params.folds, **_options(task))
        fold = links / "folds" / f"fold_{task.params.fold}"
        return _from_folders({"train": fold / "train", "val": fold / "val"} | test, task)


def ordered(task: Task) -> Assignment:
    """All pictures in the order of their file names, which is that of the rows in a set: one end is held out.

    The outermost pictures are test.

    Raises:
        UserError: nothing is left to train on.
    """
    names = sorted(task.names, key=lambda name: (natural_key(name.rsplit("/", 1)[1]), name))
    counts = {part: round(share * len(names)) for part, share in task.shares.items()} | task.numbers()
    held_out = [part for part in STRICTEST_FIRST if part != "train" for _ in range(counts.get(part, 0))]
    if len(held_out) >= len(names):
        raise UserError(f"{len(held_out)} of {len(names)} pictures are held out: lower split.fixed or split.ratio's.")
    parts = held_out + ["train"] * (len(names) - len(held_out))
    return dict(zip(names, parts if task.params.hold_out == "first" else reversed(parts), strict=True))


def stable(task: Task) -> Assignment:
    """By a hash of each picture's key and the seed alone: other pictures that are added or removed do not move it."""
    keys = {name: match_of(task.params.group, name) or task.hashes[name] for name in task.names}
    return by_hash(keys, task.shares, task.seed)


METHODS: dict[str, Callable[[Task], Assignment]] = {
    "ratio": ratio,
    "fixed": fixed,
    "kfold": kfold,
    "ordered": ordered,
    "stable": stable,
}


def by_hash(keys: Mapping[str, str], shares: Mapping[str, float], seed: int) -> Assignment:
    """A part for each picture, drawn by its key."""
    assignment = {}
    for name, key in keys.items():
        left = int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:8], "big") / 2**64
        for part in STRICTEST_FIRST:
            left -= shares.get(part, 0)
            if left < 0 or part == "train":
                assignment[name] = part
                break
    return assignment


@contextlib.contextmanager
def _links(task: Task) -> Iterator[Path]:
    """A scratch folder for split-folders, which writes its result as folders of links."""
    with (
        scratch_folder(task.folder.parents[1] / "split") as links,
        contextlib.redirect_stderr(io.StringIO()),  # its own progress bar, for a second's work
    ):
        yield links


def _options(task: Task) -> dict[str, Any]:
    """Options of split-folders, which draws class by class."""
    return {"seed": task.seed, "move": "symlink", "group": lambda files: _grouped(files, task.groups)}


def _grouped(files: Sequence[Path], groups: Sequence[Sequence[str]]) -> list[tuple[Path, ...]]:
    """Files of a class as split-folders takes them: the members of a group in one tuple."""
    group_of = {name: number for number, group in enumerate(groups) for name in group}
    grouped: dict[int | Path, list[Path]] = {}
    for file in sorted(files):
        grouped.setdefault(group_of.get(f"train/{file.parent.name}/{file.name}", file), []).append(file)
    return [tuple(group) for group in grouped.values()]


def _parts(links: Path, task: Task) -> dict[str, Path]:
    """The folder of each part: split-folders calls the second one val even where it is our test."""
    return {part: links / name for part, name in zip(task.shares, PARTS, strict=False)}


def _from_folders(parts: Mapping[str, Path], task: Task) -> Assignment:
    """The assignment that folders hold.

    A group in several classes was drawn once in each: all of it follows the class that has most of it.
    """
    drawn = {f"train/{label}/{path.name}": part for part, folder in parts.items() for path, label in labelled(folder)}
    for group in task.groups:
        members = [name for name in group if name in drawn]
        if members:
            largest = Counter(name.split("/")[1] for name in members).most_common(1)[0][0]
            leader = next(name for name in members if name.split("/")[1] == largest)
            drawn.update(dict.fromkeys(members, drawn[leader]))
    return drawn
