"""Pictures that belong together, near-duplicates or those of one patient, must not be on both sides of a split.

Pictures are named by their path below data/raw, such as train/cat/1.jpg.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from darkroom.core.errors import UserError
from darkroom.core.graphs import connected_groups
from darkroom.core.patterns import first_match
from darkroom.images.folders import PARTS

Assignment = dict[str, str]  # picture to part
STRICTEST_FIRST = tuple(reversed(PARTS))


def make_groups(
    near: Mapping[str, str], source: Mapping[str, str], pattern: str | None, names: Collection[str]
) -> list[list[str]]:
    """Groups of two or more pictures that belong together, in canonical order.

    Args:
        near: picture to group of near-duplicates, empty for none.
        source: picture to group in the source, such as a patient, empty for none.
        pattern: a regular expression; pictures with the same `match_of` belong together.
        names: all pictures.
    """
    ordered = sorted(names)
    first: dict[tuple[int, str], int] = {}
    edges = [
        (first.setdefault((kind, key), row), row)
        for row, name in enumerate(ordered)
        for kind, key in enumerate((near.get(name), source.get(name), match_of(pattern, name)))
        if key
    ]
    return [[ordered[row] for row in group] for group in connected_groups(len(ordered), edges)]


def match_of(pattern: str | None, name: str) -> str:
    """The match of a regular expression in a picture's file name; empty if there is none."""
    return first_match(pattern, name.rsplit("/", 1)[1]) if pattern else ""


def check_pattern(pattern: str | None, names: list[str]) -> None:
    """Check that `split.group` matches at least one picture's name, and print how many it does not match."""
    unmatched = [name for name in names if pattern and not match_of(pattern, name)]
    if unmatched == names:
        raise UserError(f"split.group {pattern} is in no picture's name, such as {names[0].rsplit('/', 1)[1]}.")
    if unmatched:
        print(f"split: {len(unmatched):,} pictures have no match of split.group in their names, such as {unmatched[0]}")


def resolve(
    assignment: Assignment, groups: Iterable[Sequence[str]], official: Collection[str], move: bool
) -> dict[str, str]:
    """Change `assignment` so that no group is in two parts.

    Pictures of official parts stay where they are; of two official parts the one that is held out more strictly wins.
    A group without an official picture moves to the part that has most of it. Without `move`, its pictures outside its
    most strictly held-out part are left out instead.

    Returns:
        The pictures that were left out, each with the held-out picture of its group that is the reason.
    """
    left_out = {}
    for group in groups:
        parts = [assignment[name] for name in group]
        if len(set(parts)) == 1:
            continue
        fixed = [part for part in STRICTEST_FIRST if part in official and part in parts]
        if move and not fixed:
            largest = max(PARTS, key=parts.count)
            assignment.update(dict.fromkeys(group, largest))
            continue
        winner = fixed[0] if fixed else next(part for part in STRICTEST_FIRST if part in parts)
        reason = group[parts.index(winner)]
        for name, part in zip(group, parts, strict=True):
            if part != winner:
                left_out[name] = reason
                del assignment[name]
    return left_out


def check_leaks(assignment: Assignment, groups: Iterable[Sequence[str]]) -> None:
    """Check that no group is in more than one part.

    Raises:
        UserError: names two pictures of a group that is.
    """
    for group in groups:
        picture_in = {assignment[name]: name for name in group if name in assignment}
        if len(picture_in) > 1:
            (part, name), (other_part, other_name) = list(picture_in.items())[:2]
            raise UserError(f"{name} in {part} and {other_name} in {other_part} belong together: that is a leak.")
