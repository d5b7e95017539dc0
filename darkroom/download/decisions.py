"""Applying people's decisions on labels to the checked pictures; no file of the source is changed."""

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from darkroom.core.folders import files_below
from darkroom.core.paths import UNLABELLED
from darkroom.download import ledger
from darkroom.download.ledger import Decision
from darkroom.download.selection import Selection
from darkroom.download.sources.base import SourceFile
from darkroom.download.validation import Checked
from darkroom.images.folders import is_clutter


def unlabelled(folder: Path) -> Iterator[tuple[str, Path]]:
    """The MD5 and the path of each file in the folder of pictures without labels; the folder need not exist."""
    for path in sorted(files_below(folder)) if folder.is_dir() else ():
        if not any(map(is_clutter, path.relative_to(folder).parts)):
            yield hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(), path


def labelled(folder: Path, decisions: Mapping[str, Decision]) -> list[SourceFile]:
    """The pictures of a folder of unlabelled ones that got a label; a hash in their names keeps them apart."""
    labels = {md5: decision.label for md5, decision in decisions.items() if decision.label}
    return [
        SourceFile("train", labels[md5], f"{path.stem}__{md5[:8]}{path.suffix}", path)
        for md5, path in (unlabelled(folder) if labels else ())
        if md5 in labels
    ]


def apply(
    checked: Sequence[Checked],
    decisions: Mapping[str, Decision],
    folder: Path,
    classes: Collection[str] = (),
    pool: Collection[SourceFile] = (),
) -> list[Checked]:
    """Give pictures the labels that people decided on, and move their files to the folders of these classes.

    Args:
        checked: pictures, good or bad.
        decisions: that hold, by MD5.
        folder: in which the files are.
        classes: that are used, empty for all; a picture of another one is dropped.
        pool: the pictures that had no label.
    """
    pooled = {f"train/{file.label}/{file.name}" for file in pool}
    taken = {item.name for item in checked}
    result = []
    for item in checked:
        decision = decisions.get(item.md5) if not item.reason else None
        if decision is None:
            result.append(item)
            continue
        used = not classes or not decision.label or decision.label in classes
        decided = item._replace(decision=decision.decision if used else "drop")
        if item.name in pooled:
            decided = decided._replace(source=f"{UNLABELLED}/{item.label}/{Path(item.name).name}")
        elif decided.decision != "drop" and decision.label != item.label:
            decided = _moved(decided, decision.label, folder, taken)
        result.append(decided)
    return result


def _moved(item: Checked, label: str, folder: Path, taken: set[str]) -> Checked:
    """The picture in another class; the source's goes behind the stem, since one there may have the same name."""
    path = Path(item.name)
    name = f"{item.part}/{label}/{path.stem}__{item.label}{path.suffix}"
    reason = f"{name} is another file" if name in taken else None
    if len(os.fsencode(Path(name).name)) > 255:
        reason = f"its name in {label} is too long"
    if reason:
        (folder / path).unlink()
        return item._replace(reason=reason)
    taken.add(name)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).rename(folder / name)
    return item._replace(name=name, label=label, source=item.name)


def summary(lines: Sequence[Decision], selected: Selection) -> dict[str, Any]:
    """What the ledger changed, for the report on the set."""
    pictures = (*selected.kept, *selected.decided)
    names = {item.md5: item.name for item in pictures}
    counts = Counter(item.decision for item in pictures if item.decision)
    return {
        **{kind: counts[kind] for kind in ledger.KINDS if kind != "revert"},
        "without_picture": len(ledger.holding(lines).keys() - names.keys()),
        "contradictions": [
            {
                "picture": names[md5],
                "decisions": [{"author": line.author, "decision": line.decision, "label": line.label} for line in each],
            }
            for md5, each in ledger.contradictions(lines).items()
            if md5 in names
        ],
    }
