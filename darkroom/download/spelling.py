"""Class names that differ only in case or in their Unicode form are one class in different parts."""

import unicodedata
from collections.abc import Iterable, Sequence

from darkroom.core.errors import UserError
from darkroom.download.sources.base import SourceFile
from darkroom.images.folders import PARTS


def one_spelling(files: Sequence[SourceFile], classes: Iterable[str]) -> tuple[list[SourceFile], list[str]]:
    """The files with one spelling of each class, that of train, and a sentence for each class with several.

    Args:
        files: of a source.
        classes: names in `download.classes`, which stay as they are.

    Raises:
        UserError: two classes of one part differ only in case, so that nobody knows whether they are one.
    """
    fixed = set(classes)
    spellings: dict[str, dict[str, None]] = {}  # in order, train's first
    by_part: dict[tuple[str, str], set[str]] = {}
    for part, label in sorted({(file.part, file.label) for file in files if file.label}, key=_train_first):
        if label not in fixed:
            name = unicodedata.normalize("NFC", label)
            spellings.setdefault(name.casefold(), {})[label] = None
            by_part.setdefault((part, name.casefold()), set()).add(name)
    for (part, _), names in by_part.items():
        if len(names) > 1:
            first, second = sorted(names)[:2]
            raise UserError(
                f"classes {first} and {second} in {part} differ only in case: give them one name, or set "
                f"download.classes: {{{first}: {first}, {second}: {first}}} with all the other classes."
            )
    name_of, notes = {}, []
    for labels in spellings.values():
        name = unicodedata.normalize("NFC", next(iter(labels)))
        name_of.update(dict.fromkeys(labels, name))
        if len({unicodedata.normalize("NFC", label) for label in labels}) > 1:
            notes.append(f"{', '.join(labels)} are one class, {name}: they differ only in case")
        elif len(labels) > 1:
            notes.append(f"{name} is written in {len(labels)} Unicode forms: one class")
    return [file._replace(label=name_of.get(file.label, file.label)) for file in files], notes


def _train_first(item: tuple[str, str]) -> tuple[int, str]:
    part, label = item
    return PARTS.index(part), label
