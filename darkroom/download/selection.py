"""Which files of a source are used: of the chosen classes, good, each picture once, no more than the limit."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from darkroom.core.errors import UserError
from darkroom.download.sources.base import SourceFile
from darkroom.download.validation import Checked
from darkroom.images.folders import PARTS


class Selection(NamedTuple):
    """The checked files of a source, sorted into those that are used and the others."""

    kept: list[Checked]  # in canonical order
    decided: list[Checked]  # good pictures that people dropped
    bad: dict[str, str]  # names of files that are not good pictures, or have two labels, each with its reason
    copies: dict[str, str]  # pictures that another file has already, each with its reason
    surplus: set[str]  # good pictures over the limit


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
    """Sort checked files; copies and the limit count in train only, since official parts stay whole.

    The limit counts pictures by the class that the source gives them, and those that people dropped too: a decision on
    one picture does not replace others.
    """
    good = [item for item in checked if not item.reason]
    copies, conflicts = find_copies([item for item in good if item.part == "train"])
    bad = {item.name: item.reason for item in checked if item.reason} | conflicts
    usable = [item for item in good if item.name not in bad and item.name not in copies]
    limited = [item for item in usable if item.part == "train" and item.decision != "label"]
    surplus = over_limit(limited, limit)
    used = [item for item in usable if item.name not in surplus]
    used.sort(key=lambda item: (PARTS.index(item.part), item.place))
    kept = [item for item in used if item.decision != "drop"]
    return Selection(kept, [item for item in used if item.decision == "drop"], bad, copies, surplus)


def find_copies(pictures: Iterable[Checked]) -> tuple[dict[str, str], dict[str, str]]:
    """Pictures to leave out because others have the same pixels, with the reason: `(copies, conflicts)`.

    Of copies in one class the first in order is kept. Of a picture in two classes none is, since nobody knows which
    label is right: a conflict, unless people decided on it.
    """
    by_pixels: dict[bytes, list[Checked]] = {}
    for item in pictures:
        by_pixels.setdefault(item.pixels, []).append(item)
    copies: dict[str, str] = {}
    conflicts: dict[str, str] = {}
    for group in by_pixels.values():
        ordered = sorted(group, key=lambda item: (not item.decision, item.place))
        outcomes = {_outcome(item) for item in group if item.decision} or {_outcome(item) for item in group}
        for item in ordered:
            if len(outcomes) > 1:
                other = next(other for other in ordered if _outcome(other) != _outcome(item))
                conflicts[item.name] = f"the same picture as {other.name}: which label is right?"
            elif item is not ordered[0]:
                copies[item.name] = f"the same picture as {ordered[0].name}"
    return copies, conflicts


def _outcome(item: Checked) -> str | None:
    """The class of a picture, or None if people dropped it."""
    return None if item.decision == "drop" else item.label


def over_limit(pictures: Iterable[Checked], limit: int | None) -> set[str]:
    """All but the first `limit` pictures of each class, in the order of their ranks."""
    by_class: dict[str, list[Checked]] = {}
    for item in sorted(pictures, key=lambda item: (item.rank, item.place)):
        by_class.setdefault(item.source_name.split("/")[1], []).append(item)
    return {item.name for ranked in by_class.values() for item in ranked[limit if limit else len(ranked) :]}


def summary(selected: Selection, ignored: Counter[str]) -> dict[str, Any]:
    """What the report on the set says of a selection; `ignored` counts files of classes that were not chosen."""
    decided = {item.name: "dropped by a decision" for item in selected.decided}
    dropped = sorted((selected.bad | selected.copies | decided).items())
    return {
        "found": len(selected.kept) + len(dropped),
        "kept": len(selected.kept),
        "beyond_limit_per_class": len(selected.surplus),
        "in_other_classes": ignored.total(),
        "classes": dict(sorted(Counter(item.label for item in selected.kept).items())),
        "dropped": [{"path": path, "reason": reason} for path, reason in dropped],
        "named_wrongly": sorted(item.name for item in selected.kept if item.wrong_suffix),
    }
