"""What is in a folder of pictures: classes, sizes, bad files, copies, near-duplicates, groups in the file names."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from darkroom.core.errors import UserError
from darkroom.core.parallel import on_all_cores
from darkroom.download import inspection, near_duplicates, selection
from darkroom.download.params import Params
from darkroom.download.selection import Selection
from darkroom.download.sources.base import Source
from darkroom.download.validation import Bounds, check, jobs
from darkroom.images.folders import PARTS
from darkroom.split.groups import match_of

PHOTOGRAPH = 64  # pixels of the shorter side, in the median
# How alike near-duplicates are: small pictures of one class are more alike than photographs.
SIMILARITY = {"photographs": 0.9, "small pictures": 0.95}
# File names whose beginning may be that of a group, such as a patient, with what it looks like.
PATTERNS = {
    r"^(.+)__[^/]+$": "the pictures of a class are in folders",
    r"^(\D*\d+)[ _.-]+\D{0,8}\d+\.\w+$": "file names have a number before their last one",
}
MATCHED = 0.95  # least share of names that must match
LEAST_MEMBERS = 2  # of a group, on average
LEAST_GROUPS = 3  # of a class, one for each part


class Findings(NamedTuple):
    """A folder of pictures."""

    settings: dict[str, Any]  # of download, with which it is read
    source: Source
    counts: dict[str, Counter[str]]  # pictures of each class in each part, also of classes without a good picture
    selected: Selection
    measures: np.ndarray  # of the pictures that are kept
    near: list[list[int]]  # rows of near-duplicates
    issues: dict[str, int]
    pattern: str | None  # of groups in file names

    @property
    def names(self) -> list[str]:
        """The pictures that are kept, such as train/cat/1.jpg."""
        return [item.name for item in self.selected.kept]

    @property
    def official(self) -> list[str]:
        """The parts that the source has besides train."""
        return [part for part in PARTS[1:] if any(count[part] for count in self.counts.values())]

    @property
    def side(self) -> float:
        """The shorter side of a picture in pixels, the median."""
        return statistics.median(np.minimum(self.measures["height"], self.measures["width"]).tolist())

    @property
    def similarity(self) -> float:
        """The value of `download.near_duplicates` that suits them."""
        return SIMILARITY["photographs" if self.side >= PHOTOGRAPH else "small pictures"]


def look(settings: dict[str, Any], source: Source, seed: int) -> Findings:
    """Check and measure all files of a source.

    Raises:
        UserError: there is no good picture.
    """
    params = Params(**settings)
    bounds = Bounds(params.min_side, params.max_megapixels * 1e6)
    checked = list(on_all_cores(check, jobs(source.files, None, bounds, seed)))
    selected = selection.select(checked, None)
    if not selected.kept:
        reasons = (f", such as {name} ({reason})" for name, reason in selected.bad.items())
        raise UserError(f"{params.path} has no good picture{next(reasons, '')}.")
    measures = np.frombuffer(b"".join(item.measures for item in selected.kept), inspection.MEASURES)
    counts = {label: Counter[str]() for label in sorted({item.label for item in checked if item.label})}
    for item in selected.kept:
        counts[item.label][item.part] += 1
    found = Findings(settings, source, counts, selected, measures, [], {}, None)
    issues = {issue: len(rows) for issue, rows in inspection.issues(measures).items() if len(rows)}
    pattern = _pattern_of_groups(found.names) if params.source not in ("csv", "idx") else None
    return found._replace(near=near_duplicates.find(measures, found.similarity), issues=issues, pattern=pattern)


def _pattern_of_groups(names: Sequence[str]) -> str | None:
    """The regular expression by which file names seem to have a group, such as a patient; None if they do not."""
    for pattern in PATTERNS:
        groups: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for name in names:
            groups[name.split("/")[1]][match_of(pattern, name)] += 1
        unmatched = sum(members.pop("", 0) for members in groups.values())
        counts = [len(members) for members in groups.values()]
        if (
            unmatched <= (1 - MATCHED) * len(names)
            and min(counts) >= LEAST_GROUPS
            and len(names) >= LEAST_MEMBERS * sum(counts)
        ):
            return pattern
    return None
