"""Methods to divide the pictures of the part train.

Each is a function of a `Task`, registered in `METHODS` by its name in `split.method`. Pictures are named by their path
below data/raw.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from darkroom.core.errors import UserError
from darkroom.core.files import natural_key
from darkroom.images.folders import PARTS
from darkroom.split.groups import STRICTEST_FIRST, Assignment, match_of

if TYPE_CHECKING:
    from darkroom.split.params import Params


class Task(NamedTuple):
    """Pictures to divide into the parts that are not official."""

    names: Sequence[str]
    keys: Mapping[str, str]  # picture to what `stable` draws by: its group in the source, or its perceptual hash
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
    if len(task.shares) == 1:
        return dict.fromkeys(task.names, "train")
    drawn = _draw("ratio", task, task.names, ratio=tuple(task.shares.values()))
    return _together(_named(drawn, task.shares), task)


def fixed(task: Task) -> Assignment:
    """Random, `split.fixed` pictures of each class in val and test.

    Raises:
        UserError: a class has fewer pictures.
    """
    numbers = task.numbers()
    if not numbers:
        return ratio(task)
    try:
        drawn = _draw("fixed", task, task.names, fixed=list(numbers.values()))
    except ValueError:
        groups = _grouped(task.names, task.groups)
        label = min(groups, key=lambda name: len(groups[name]))
        raise UserError(
            f"split.fixed asks for {sum(numbers.values())} pictures of each class, but {label} has "
            f"{len(groups[label])} (a group counts as one): lower it, or add pictures."
        ) from None
    return _together(_named(drawn, task.shares), task)


def kfold(task: Task) -> Assignment:
    """Test by its share, the rest in `split.folds` random folds, of which `split.fold` (from 1) is val."""
    names, test = task.names, {}
    if share := task.shares.get("test"):
        drawn = _named(_draw("ratio", task, names, ratio=(1 - share, share)), ("train", "test"))
        names = [name for name in names if drawn.get(name) == "train"]
        test = {name: part for name, part in drawn.items() if part == "test"}
    return _together(_draw("kfold", task, names, f"fold_{task.params.fold}", k=task.params.folds) | test, task)


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
    keys = {name: match_of(task.params.group, name) or task.keys[name] for name in task.names}
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


def _draw(method: str, task: Task, names: Iterable[str], output: str = "", **options: Any) -> Assignment:
    """Let split-folders draw, class by class, without the tree of files that it copies its result to.

    Args:
        method: a function of split-folders.
        task: the others are of.
        names: the pictures to draw from.
        output: the folder in its result that counts.
        options: of the method.

    Returns:
        The name that split-folders gives to each picture's part.

    Raises:
        ValueError: a class is too small.
    """
    import splitfolders

    groups = _grouped(names, task.groups)
    drawn: Assignment = {}

    def record(parts: Iterable[tuple[list[tuple[str, ...]], str]], class_folder: Path, folder: Path, *_: Any) -> None:
        if Path(folder).name == output:
            drawn.update((name, part) for members, part in parts for group in members for name in group)

    # All else of split-folders stays as it is: what it draws depends on its seed, order and rounding.
    instead: dict[str, Any] = {
        "list_dirs": lambda _: [Path(label) for label in groups],
        "list_files": lambda folder, _: groups.get(folder.name, []),
        "copy_files": record,
    }
    with mock.patch.multiple("splitfolders.split", **instead, use_tqdm=False):
        options |= {"seed": task.seed, "group": list, "move": "symlink"}
        getattr(splitfolders, method)(".", "", **options)
    return drawn


def _grouped(names: Iterable[str], groups: Sequence[Sequence[str]]) -> dict[str, list[tuple[str, ...]]]:
    """The pictures of each class as split-folders takes them: the members of a group in one tuple."""
    group_of = {name: number for number, group in enumerate(groups) for name in group}
    grouped: dict[str, dict[int | str, list[str]]] = {}
    for name in sorted(names):
        _, label, *rest = name.split("/")
        if len(rest) > 1:
            continue  # split-folders reads no folders in class folders
        grouped.setdefault(label, {}).setdefault(group_of.get(name, name), []).append(name)
    return {label: [tuple(group) for group in members.values()] for label, members in grouped.items()}


def _named(drawn: Assignment, parts: Iterable[str]) -> Assignment:
    """The assignment with our names of the parts: split-folders calls the second one val even where it is our test."""
    names = dict(zip(PARTS, parts, strict=False))
    return {name: names[part] for name, part in drawn.items()}


def _together(drawn: Assignment, task: Task) -> Assignment:
    """The assignment without groups in two parts.

    A group in several classes was drawn once in each: all of it follows the class that has most of it.
    """
    for group in task.groups:
        members = [name for name in group if name in drawn]
        if members:
            largest = Counter(name.split("/")[1] for name in members).most_common(1)[0][0]
            leader = next(name for name in members if name.split("/")[1] == largest)
            drawn.update(dict.fromkeys(members, drawn[leader]))
    return drawn
