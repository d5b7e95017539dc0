"""Findings and recommendations as text for a person."""

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from darkroom.commands.inspect.advice import Advice
from darkroom.commands.inspect.findings import Findings
from darkroom.core.params import flat
from darkroom.core.terminal import printable, table

BAR = 30  # characters of the largest class
LABEL = 40
LONGEST = 300  # characters of a value
CLASSES = 30  # that are listed: the largest and the smallest
PLURALS = {"class": "classes", "copy": "copies"}


def described(found: Findings) -> str:
    """How a folder is read, its classes, and what is wrong with its pictures."""
    notes = map(printable, (found.source.description, *found.source.details.get("notes", ())))
    return "\n".join([*notes, "", _classes(found), "", *map(printable, _sentences(found))])


def changes(advice: Sequence[Advice], current: dict[str, Any]) -> str:
    """The settings that differ from complete params, as a diff in their order, each with its reason."""
    values = flat(current)
    order = {key: place for place, key in enumerate(values)}
    different = [item for item in advice if values.get(item.key) != item.value]
    different.sort(key=lambda item: order.get(item.key, len(order)))
    lines = []
    for reason, items in itertools.groupby(different, lambda item: item.reason):
        lines.append(f"# {reason}")
        for key, value, _ in items:
            lines += [f"- {key}: {_notation(values.get(key))}", f"+ {key}: {_notation(value)}"]
    return "\n".join(map(printable, lines))


def _notation(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)  # JSON is YAML
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _classes(found: Findings) -> str:
    counts, parts = found.counts, ["train", *found.official]
    labels = list(counts)
    if many := len(labels) > CLASSES:
        labels.sort(key=lambda label: -counts[label].total())
        labels = labels[: CLASSES // 2] + labels[-CLASSES // 2 :]
    largest = max(count.total() for count in counts.values())
    rows = [
        [printable(label, LABEL), *(f"{counts[label][part]:,}" for part in parts), _bar(counts[label], largest)]
        for label in labels
    ]
    if many:
        rows.insert(CLASSES // 2, [f"… {len(counts) - CLASSES:,} more", *([""] * (len(parts) + 1))])
    return table([["class", *(parts if found.official else ["pictures"]), ""], *rows])


def _bar(count: Counter[str], largest: int) -> str:
    return "#" * round(BAR * count.total() / largest)


def _sentences(found: Findings) -> list[str]:
    kept, _, bad, copies, _ = found.selected
    sentences = [f"{_some(len(kept), 'picture')} of {_some(len(found.counts), 'class')}: {_look(found.measures)}."]
    reasons = Counter(map(_short, bad.values()))
    for reason, count in reasons.most_common():
        example = next(name for name in bad if _short(bad[name]) == reason)
        sentences.append(f"Unusable: {_some(count, 'file')} ({reason}), such as {example}.")
    if copies:
        sentences.append(f"Left out: {_some(len(copies), 'copy')} of other pictures, such as {next(iter(copies))}.")
    if found.near:
        names, largest = found.names, max(found.near, key=len)
        conflicts = sum(len({names[row].split("/")[1] for row in group}) > 1 for group in found.near)
        sentences.append(
            f"Near-duplicates: {_some(sum(map(len, found.near)), 'picture')} in {_some(len(found.near), 'group')}, "
            f"{conflicts:,} of the groups with two labels or more; the largest has {len(largest):,}, such as "
            f"{' and '.join(names[row] for row in largest[:2])}."
        )
    if found.issues:
        issues = ", ".join(f"{count:,} {issue.replace('_', ' ')}" for issue, count in found.issues.items())
        sentences.append(f"Worth a look: {issues}; reports/issues.csv will list them.")
    return sentences


def _short(reason: str) -> str:
    """A reason without the name of another picture, so that equal ones can be counted."""
    return "the same picture is in another class" if reason.startswith("the same picture as") else reason


def _look(measures: np.ndarray) -> str:
    """Colours and sizes."""
    grey = int(measures["grey"].sum())
    colours = "in colour" if not grey else "grey" if grey == len(measures) else f"{grey:,} grey, the others in colour"
    sizes = np.unique(measures[["width", "height"]])
    if len(sizes) == 1:
        return f"{colours}, {sizes[0]['width']} x {sizes[0]['height']} pixels"
    sides = np.minimum(measures["width"], measures["height"])
    return f"{colours}, the shorter side {sides.min():,} to {sides.max():,} pixels (median {np.median(sides):,.0f})"


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun if count == 1 else PLURALS.get(noun, f'{noun}s')}"
