"""What to review, and in which order."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from darkroom.commands.review.pictures import Picture
from darkroom.core.files import read_csv
from darkroom.core.paths import LABEL_ISSUES, LABEL_QUALITY, PREDICTIONS

LONGEST = 5000  # pictures of a queue


class Item(NamedTuple):
    """A picture to review."""

    md5: str
    expected: str = ""  # the class that it looks like; empty if no other than its label is likely
    reason: str = ""  # why it is here


Queue = Callable[[Mapping[Path, Picture]], Iterator[Item]]


def suspicious(pictures: Mapping[Path, Picture]) -> Iterator[Item]:
    """Labels that look wrong, the worst first."""
    yield from _by_quality(LABEL_ISSUES, pictures)


def unlikely(pictures: Mapping[Path, Picture]) -> Iterator[Item]:
    """All other labels, the least likely first."""
    yield from _by_quality(LABEL_QUALITY, pictures)


def _by_quality(path: Path, pictures: Mapping[Path, Picture]) -> Iterator[Item]:
    for row in _rows(path, ("path", "suggested", "quality"))[:LONGEST]:
        if picture := pictures.get(Path(row["path"])):
            reason = f"A model that has not seen this picture gives its label {100 * float(row['quality']):.1f} %."
            yield Item(picture.md5, row["suggested"], reason)


def conflicts(pictures: Mapping[Path, Picture]) -> Iterator[Item]:
    """Near-duplicates that have two labels, group by group."""
    groups: defaultdict[str, list[Picture]] = defaultdict(list)
    for picture in pictures.values():
        if picture.group:
            groups[picture.group].append(picture)
    for members in groups.values():
        if len({picture.label for picture in members}) > 1:
            for picture in members:
                other = next(each.label for each in members if each.label != picture.label)
                yield Item(picture.md5, other, "A near-duplicate has another label.")


def mistakes(pictures: Mapping[Path, Picture]) -> Iterator[Item]:
    """Test pictures on which the model is wrong, the most confident first."""
    rows = [row for row in _rows(PREDICTIONS, PREDICTED) if row["predicted"] != row["label"]]
    yield from _predicted(sorted(rows, key=lambda row: -float(row["probability"])), pictures)


def uncertain(pictures: Mapping[Path, Picture]) -> Iterator[Item]:
    """Pictures of whose class a model that has not seen them is least certain (Lewis and Gale, A Sequential Algorithm
    for Training Text Classifiers, 1994).

    For test pictures this is the trained model, for the others that which looks for wrong labels.
    """
    rows = _rows(PREDICTIONS, PREDICTED)
    predicted = {row["path"] for row in rows}
    for row in (*_rows(LABEL_ISSUES, ASSESSED), *_rows(LABEL_QUALITY, ASSESSED)):
        if row["path"] not in predicted:
            qualities = {row["suggested"]: row["suggested_quality"], row["label"]: row["quality"]}
            best = max(qualities, key=lambda name: float(qualities[name]))
            rows.append({"path": row["path"], "predicted": best, "probability": qualities[best]})
    yield from _predicted(sorted(rows, key=lambda row: float(row["probability"]))[:LONGEST], pictures)


QUEUES: dict[str, Queue] = {
    "suspicious": suspicious,
    "unlikely": unlikely,
    "conflicts": conflicts,
    "mistakes": mistakes,
    "uncertain": uncertain,
}
PREDICTED = ("path", "label", "predicted", "probability")
ASSESSED = ("path", "label", "suggested", "quality", "suggested_quality")


def _predicted(rows: Sequence[Mapping[str, str]], pictures: Mapping[Path, Picture]) -> Iterator[Item]:
    for row in rows:
        if picture := pictures.get(Path(row["path"])):
            share = f"{100 * float(row['probability']):.1f} %"
            model = "The model" if picture.split == "test" else "A model that has not seen this picture"
            yield Item(picture.md5, row["predicted"], f"{model} says {row['predicted']} with {share}.")


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a report; none if it has not been written yet."""
    return read_csv(path, columns) if path.exists() else []
