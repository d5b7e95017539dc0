"""Which files of a source are used: of the chosen classes, good, each picture once, no more than the limit."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from darkroom.core.errors import UserError
from darkroom.download.sources.base import SourceFile
from darkroom.download.validation import Checked


class Selection(NamedTuple):
    """The checked files of a source, sorted into those that are used and the others."""

    kept: list[Checked]
    bad: dict[Path, str]  # files that are not good pictures, or have two labels, each with its reason
    copies: dict[Path, str]  # pictures that another file has already, each with its reason
    surplus: set[Path]  # good pictures over the limit


def of_classes(
    files: Iterable[SourceFile], classes: list[str] | dict[str, str] | None, ignored: Counter[str]
) -> Iterator[SourceFile]:
    """The files of some classes, renamed where `classes` is a mapping; `ignored` counts the others by class.

    Raises:
        UserError: at the end, for a class that the source does not have.
    """
    names = classes if isinstance(classes, dict) else {name: name for name in classes or ()}
    seen = set()
    for file in files:
        seen.add(file.label)
        if not names or not file.label:
            yield file
        elif file.label in names:
            merged = list(names.values()).count(names[file.label]) > 1  # their files may have the same names
            path = Path(file.name)  # the label goes behind the stem, so that names keep the order of the rows
            name = f"{path.stem}__{file.label}{path.suffix}" if merged else file.name
            yield file._replace(label=names[file.label], name=name)
        else:
            ignored[file.label] += 1
    if missing := sorted(set(names) - seen):
        raise UserError(
            f"download.classes: the source has no class {missing[0]}, but {', '.join(sorted(seen - {''}))}."
        )


def select(checked: Sequence[Checked], limit: int | None) -> Selection:
    """Sort checked files; copies and the limit count in train only, since official parts stay whole."""
    good = [item for item in checked if not item.reason]
    copies, conflicts = find_copies([item for item in good if item.part == "train"])
    bad = {item.target: item.reason for item in checked if item.reason} | conflicts
    usable = [item for item in good if item.target not in bad and item.target not in copies]
    surplus = over_limit([item for item in usable if item.part == "train"], limit)
    return Selection([item for item in usable if item.target not in surplus], bad, copies, surplus)


def find_copies(pictures: Iterable[Checked]) -> tuple[dict[Path, str], dict[Path, str]]:
    """Pictures to leave out because others have the same pixels, with the reason: `(copies, conflicts)`.

    Of copies in one class the first in order is kept. Of a picture in two classes none is, since nobody knows which
    label is right: a conflict.
    """
    by_pixels: dict[bytes, list[Checked]] = {}
    for item in pictures:
        by_pixels.setdefault(item.pixels, []).append(item)
    copies, conflicts = {}, {}
    for group in by_pixels.values():
        first, *rest = sorted(group, key=lambda item: item.target)
        for item in (first, *rest):
            other = next((other for other in (first, *rest) if other.label != item.label), None)
            if other:
                conflicts[item.target] = f"the same picture as {_name(other)}: which label is right?"
            elif item is not first:
                copies[item.target] = f"the same picture as {_name(first)}"
    return copies, conflicts


def _name(item: Checked) -> str:
    return "/".join(item.target.parts[-3:])


def over_limit(pictures: Iterable[Checked], limit: int | None) -> set[Path]:
    """All but the first `limit` pictures of each class, in the order of their ranks."""
    by_class: dict[str, list[Checked]] = {}
    for item in sorted(pictures, key=lambda item: (item.rank, item.target)):
        by_class.setdefault(item.label, []).append(item)
    return {item.target for ranked in by_class.values() for item in ranked[limit if limit else len(ranked) :]}
