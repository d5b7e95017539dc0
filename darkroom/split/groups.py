"""Pictures that belong together, near-duplicates or those of one patient, must not be on both sides of a split.

Pictures are named by their path below data/raw, such as train/cat/1.jpg.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from darkroom.core.errors import UserError
from darkroom.images.folders import PARTS

Assignment = dict[str, str]  # picture to part
STRICTEST_FIRST = tuple(reversed(PARTS))  # the strictest first


def groups(near: Mapping[str, str], pattern: str | None, names: Collection[str]) -> list[list[str]]:
    """Groups of two or more pictures that belong together, in canonical order.

    Args:
        near: a picture's group of near-duplicates, empty for none.
        pattern: a regular expression; pictures with the same match in their file names belong together. The first of
            its groups that matched counts, or the whole match where it has none.
        names: all pictures.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ordered = sorted(names)
    first: dict[tuple[str, str], int] = {}
    edges = []
    for row, name in enumerate(ordered):
        for kind, key in (("near", near.get(name, "")), ("named", named(pattern, name))):
            if key:
                edges.append((first.setdefault((kind, key), row), row))
    pairs = np.array(edges, int).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(ordered), len(ordered)))
    members: dict[int, list[str]] = {}
    for name, label in zip(ordered, connected_components(graph, directed=False)[1], strict=True):
        members.setdefault(label, []).append(name)
    return [group for group in members.values() if len(group) > 1]


def named(pattern: str | None, name: str) -> str:
    """What `pattern` finds in a picture's file name; empty if nothing."""
    match = re.search(pattern, name.rsplit("/", 1)[1]) if pattern else None
    return next(filter(None, match.groups() or [match[0]]), "") if match else ""


def mend(
    assignment: Assignment, together: Iterable[Sequence[str]], official: Collection[str], move: bool
) -> dict[str, str]:
    """Change `assignment` so that no group is in two parts; return the pictures that had to go, each with its twin.

    Pictures of official parts stay where they are; of two official parts the one that is held out more strictly wins.
    A group without an official picture goes where most of it is, or, unless `move`, its pictures outside its most
    strictly held-out part go.
    """
    gone = {}
    for group in together:
        parts = [assignment[name] for name in group]
        if len(set(parts)) == 1:
            continue
        fixed = [part for part in STRICTEST_FIRST if part in official and part in parts]
        if move and not fixed:
            most = max(PARTS, key=parts.count)
            assignment.update(dict.fromkeys(group, most))
            continue
        stays = fixed[0] if fixed else next(part for part in STRICTEST_FIRST if part in parts)
        twin = group[parts.index(stays)]
        for name, part in zip(group, parts, strict=True):
            if part != stays:
                gone[name] = twin
                del assignment[name]
    return gone


def check(assignment: Assignment, together: Iterable[Sequence[str]]) -> None:
    """Fail if a group is in more than one part.

    Raises:
        UserError: names two of its pictures.
    """
    for group in together:
        where = {assignment[name]: name for name in group if name in assignment}
        if len(where) > 1:
            (part, name), (other, twin) = list(where.items())[:2]
            raise UserError(f"{name} in {part} and {twin} in {other} belong together: that is a leak.")
