"""Settings that suit a folder of pictures, each with its reason."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from darkroom.commands.inspect.findings import LEAST_GROUPS, PATTERNS, PHOTOGRAPH, Findings
from darkroom.core.errors import UserError
from darkroom.core.params import flat
from darkroom.images.folders import PARTS
from darkroom.split.groups import make_groups, resolve
from darkroom.split.methods import METHODS, Task
from darkroom.split.params import Params as Split

LARGE = 128  # pixels of the shorter side, from which VGG16's own size, 224, is worth its time
MANY = 1000  # pictures of a class, of which a tenth is enough to test it
FEW = 40  # groups of a class, of which a sixth would be too few to choose the model by
FOLDS = 5
NAMED = 10  # classes that are named
UNEQUAL = 1.5  # times the pictures of the smallest class that the largest has
TOO_UNEQUAL = 10  # from which on copies with small changes add nothing to the few pictures of a class
KERNEL = 10_000  # training pictures: the time of a kernel machine grows with their square
RATIOS = ([0.8, 0.1, 0.1], [0.7, 0.15, 0.15], [0.6, 0.2, 0.2], [0.34, 0.33, 0.33])


class Advice(NamedTuple):
    """A setting and why."""

    key: str
    value: Any
    reason: str


def advise(found: Findings, seed: int) -> list[Advice]:
    """The settings for these pictures.

    Raises:
        UserError: fewer than two classes have enough pictures.
    """
    advice = [*_source(found)]
    groups = _groups(found)
    units = _units(found, groups)
    least = LEAST_GROUPS - len(found.official)
    lacking = {label for label, count in found.counts.items() if not all(count[part] for part in found.official)}
    if small := [label for label, number in units.items() if number < least or label in lacking]:
        classes = [label for label in units if label not in set(small)]
        if len(classes) < 2:
            which = f"class {small[0]} has {units[small[0]]} different training pictures that can be used"
            raise UserError(
                f"{which}, and a class needs pictures in each of train, val and test ({least} here): add pictures."
            )
        more = f" and {len(small) - NAMED:,} more" if len(small) > NAMED else ""
        reason = f"too few different pictures for train, val and test: {', '.join(small[:NAMED])}{more}"
        advice = [item for item in advice if item.key != "download.classes"]
        advice.append(Advice("download.classes", classes, reason))
        units = {label: units[label] for label in classes}
    split = list(_split(found, groups, units, seed))
    counts = [found.counts[label]["train"] for label in units]
    # Official parts are not divided; a tenth more or less changes no advice.
    share = 1.0 if len(found.official) == 2 else RATIOS[1][0]
    balance = list(_balance(counts))
    grown = any(item.value == "max" for item in balance)
    total = len(counts) * max(counts) if grown else sum(counts)
    return [*advice, *split, *balance, *_features(found), *_head(round(share * total))]


def _source(found: Findings) -> Iterator[Advice]:
    for key, value in flat(found.settings).items():
        yield Advice(f"download.{key}", value, _reason(key, value, found))
    reason = "suits photographs"
    if found.side < PHOTOGRAPH:
        reason = f"the shorter side has less than {PHOTOGRAPH} pixels: pictures of a class are more alike"
    yield Advice("download.near_duplicates", found.similarity, reason)


def _reason(key: str, value: Any, found: Findings) -> str:
    return {
        "source": found.source.description,
        "path": "where the pictures are",
        "limit_per_class": "all pictures are used",
        "label_from": "the class is in the file names",
    }.get(key, "needed to read it" if value is not None else "not needed here")


def _groups(found: Findings) -> list[list[str]]:
    """Pictures that must not be on two sides of the split."""
    near = {found.names[row]: str(number) for number, group in enumerate(found.near, start=1) for row in group}
    source = {item.name: item.group for item in found.selected.kept}
    return make_groups(near, source, found.pattern, found.names)


def _units(found: Findings, groups: list[list[str]]) -> dict[str, int]:
    """For each class the number of pictures to divide, with a group as one."""
    units = {label: count["train"] for label, count in found.counts.items()}
    for group in groups:
        for label, members in Counter(name.split("/")[1] for name in group if name.startswith("train/")).items():
            units[label] -= members - 1
    return units


def _split(found: Findings, groups: list[list[str]], units: dict[str, int], seed: int) -> Iterator[Advice]:
    """The first method by which every class has pictures in every part."""
    smallest = min(units, key=lambda label: units[label])
    if found.pattern:
        reason = f"{PATTERNS[found.pattern]}, so those with the same {found.pattern} stay on one side of the split"
        yield Advice("split.group", found.pattern, reason)
    else:
        yield Advice("split.group", None, "file names show no groups")
    names = [name for name in found.names if name.split("/")[1] in units]
    groups = [kept for group in groups if len(kept := [name for name in group if name.split("/")[1] in units]) > 1]
    for settings, reason in _methods(units[smallest], smallest, found.official):
        if _works(Split(**settings), names, groups, found.official, seed):
            for key, value in settings.items():
                yield Advice(f"split.{key}", value, reason)
            return
    raise UserError(
        f"no split has pictures of every class in train, val and test: add pictures of {smallest}, which has "
        f"{units[smallest]:,} different ones."
    )


def _methods(number: int, label: str, official: list[str]) -> Iterator[tuple[dict[str, Any], str]]:
    """Settings of `split`, the best first; `number` is that of the smallest class, `label`."""
    if len(official) == 2:
        yield {"method": "ratio", "ratio": RATIOS[1]}, "the source has its own val and test"
    if number < FEW and not official:
        folds = min(FOLDS, max(2, number - 2))
        reason = f"class {label} has {number:,} different pictures: train once for each fold to see how results vary"
        yield {"method": "kfold", "folds": folds, "fold": 1, "ratio": RATIOS[2]}, reason
    reason = f"class {label}, the smallest, has {number:,} different pictures"
    for ratio in RATIOS if number >= MANY else RATIOS[1:]:
        yield {"method": "ratio", "ratio": ratio}, reason
    yield {"method": "fixed", "fixed": [1, 1]}, reason


def _works(params: Split, names: list[str], groups: list[list[str]], official: list[str], seed: int) -> bool:
    """Whether every class has pictures in every part."""
    shares = {part: share for part, share in zip(PARTS, params.ratio, strict=True) if part not in official}
    total = sum(shares.values())
    free = [name for name in names if name.startswith("train/")]
    task = Task(free, {}, groups, {part: share / total for part, share in shares.items()}, params, seed)
    try:
        assignment = METHODS[params.method](task)
    except (UserError, ValueError):  # split-folders raises the latter for classes that are too small
        return False
    assignment |= {name: name.split("/")[0] for name in names if not name.startswith("train/")}
    left_out = resolve(assignment, groups, official, move=True)
    counts = Counter((name.split("/")[1], part) for name, part in assignment.items())
    labels = {name.split("/")[1] for name in names}
    return len(left_out) <= len(assignment) and all(counts[label, part] for label in labels for part in PARTS)


def _balance(counts: list[int]) -> Iterator[Advice]:
    times = max(counts) / min(counts)
    sizes = f"the largest class has {times:,.1f} times the pictures of the smallest"
    if times < UNEQUAL:
        sizes = "the classes are about equally large"
    target, weights, reason = "none", "none", sizes
    if times >= TOO_UNEQUAL:
        weights, reason = "balanced", f"{sizes}: weights, since changed copies would add little"
    elif times >= UNEQUAL:
        target, reason = "max", f"{sizes}: changed copies make up for it"
    yield Advice("augment.target", target, reason)
    yield Advice("train.class_weights", weights, reason)


def _features(found: Findings) -> Iterator[Advice]:
    side = f"the shorter side has {found.side:,.0f} pixels (median)"
    if found.side < PHOTOGRAPH:
        values = {"image_size": [48, 48], "layers": ["block3_pool"], "pooling": "flatten"}
    else:
        size = 224 if found.side >= LARGE else 128
        values = {"image_size": [size, size], "layers": ["block5_pool"], "pooling": "avg"}
    for key, value in {"backbone": "VGG16", "weights": "imagenet", **values}.items():
        yield Advice(f"extract.{key}", value, side)


def _head(pictures: int) -> Iterator[Advice]:
    yield Advice("train.mode", "head", "the fastest; make advise says more once the features are there")
    if pictures > KERNEL:
        yield Advice(
            "train.head.type", "dense", f"about {pictures:,} training pictures are too many for a kernel machine"
        )
        return
    yield Advice("train.head.type", "rbf_svm", f"the most accurate head for about {pictures:,} training pictures")
    for key, value in {"label_smoothing": 0.0, "teacher": None}.items():
        yield Advice(f"train.{key}", value, "rbf_svm has none")
