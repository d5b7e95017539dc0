"""The changes from one version of the data to another, picture by picture."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from darkroom.commands.datadiff.versions import Picture

KINDS = ("label changed", "added", "removed", "renamed", "split changed")
# Pictures with the same content are matched by label and name first, then by label, then by content alone.
KEYS: tuple[Callable[[Picture], Hashable], ...] = (
    lambda picture: (picture.md5, picture.label, picture.name),
    lambda picture: (picture.md5, picture.label),
    lambda picture: picture.md5,
)


@dataclass(frozen=True)
class Change:
    """A picture in A and in B; None where it is absent."""

    before: Picture | None
    after: Picture | None

    @property
    def kinds(self) -> list[str]:
        """Which of KINDS apply; the split of a renamed or relabelled picture may have changed too."""
        a, b = self.before, self.after
        if a is None or b is None:
            return ["added" if a is None else "removed"]
        place = "label changed" if a.label != b.label else "renamed" if a.name != b.name else None
        return [kind for kind in (place, "split changed" if a.split != b.split else None) if kind]

    @property
    def paths(self) -> tuple[str, str]:
        """Class folder and name, before and after."""
        a, b = (f"{picture.label}/{picture.name}" if picture else "" for picture in (self.before, self.after))
        return a, b


def differences(a: Counter[Picture], b: Counter[Picture]) -> list[Change]:
    """All changes, in the order of KINDS.

    One copy more or less of the same content counts as one picture added or removed, and pictures are matched so that
    as few labels as possible change.
    """
    left, right = list((a - b).elements()), list((b - a).elements())
    changes = []
    for key in KEYS:
        pairs, left, right = _matched(left, right, key)
        changes += pairs
    changes += [Change(picture, None) for picture in left] + [Change(None, picture) for picture in right]
    return sorted(changes, key=lambda change: (KINDS.index(change.kinds[0]), change.paths))


def _matched(
    left: list[Picture], right: list[Picture], key: Callable[[Picture], Hashable]
) -> tuple[list[Change], list[Picture], list[Picture]]:
    """Pairs with the same key, and the pictures without a partner; sorted, so that B against A gives the same pairs."""
    waiting: defaultdict[Hashable, deque[Picture]] = defaultdict(deque)
    for picture in sorted(right):
        waiting[key(picture)].append(picture)
    pairs, unmatched = [], []
    for picture in sorted(left):
        partners = waiting[key(picture)]
        if partners:
            pairs.append(Change(picture, partners.popleft()))
        else:
            unmatched.append(picture)
    return pairs, unmatched, [picture for partners in waiting.values() for picture in partners]
