"""How many pictures each stage will have, from what the source holds and params.yaml."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from darkroom.images.folders import PARTS
from darkroom.pipeline.params import Params

Counts = Mapping[str, Counter[str]]  # pictures of each class in each part


class Workload(NamedTuple):
    """Numbers of pictures."""

    found: int  # in the source
    train: int  # without augmented ones
    val: int
    test: int
    added: int  # by augment
    classes: int

    @property
    def kept(self) -> int:
        """All pictures in data/raw."""
        return self.train + self.val + self.test

    @property
    def trained(self) -> int:
        """Pictures of an epoch."""
        return self.train + self.added


def workload(counts: Counts, params: Params) -> Workload:
    """Limit, divide and augment the pictures of a source as the stages will, as if all of them were good.

    Args:
        counts: of the source.
        params: all sections.
    """
    official = [part for part in PARTS[1:] if any(count[part] for count in counts.values())]
    divided = [_divided(count, len(counts), official, params) for count in counts.values()]
    train = [count["train"] for count in divided]
    target = params.augment.target
    goal = max(train, default=0) if target == "max" else 0 if target == "none" else int(target)
    surplus = sum(max(0, count - goal) for count in train) if params.augment.undersample and goal else 0
    total = {part: round(sum(count[part] for count in divided)) for part in PARTS}
    return Workload(
        found=sum(count.total() for count in counts.values()),
        train=round(total["train"] - surplus),
        val=total["val"],
        test=total["test"],
        added=round(sum(max(0, goal - count) for count in train)),
        classes=len(counts),
    )


def _divided(count: Counter[str], classes: int, official: list[str], params: Params) -> dict[str, float]:
    """The pictures of a class in train, val and test."""
    split, free = params.split, min(count["train"], params.download.limit_per_class or count["train"])
    shares = {part: share for part, share in zip(PARTS, split.ratio, strict=True) if part not in official}
    shares = {part: share / sum(shares.values()) for part, share in shares.items()}
    if split.method == "kfold":
        rest = 1 - shares.get("test", 0)
        shares |= {"train": rest * (1 - 1 / split.folds), "val": rest / split.folds}
    drawn = {part: free * share for part, share in shares.items()}
    if split.fixed and split.method in ("fixed", "ordered"):
        of_all = classes if split.method == "ordered" else 1  # ordered counts the pictures of all classes
        numbers = zip(PARTS[1:], split.fixed, strict=True)
        drawn |= {part: number / of_all for part, number in numbers if part in shares}
        drawn["train"] = free - sum(drawn.get(part, 0) for part in PARTS[1:])
    return {part: drawn.get(part, 0) + (count[part] if part in official else 0) for part in PARTS}
