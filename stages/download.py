"""Fetch labelled pictures, check every one, keep the good ones in one folder a class, and say what they are like.

Reads   the source that `download.source` names: a set of TensorFlow Datasets, or `download.path` or `download.url`
Writes  data/raw/{train,val,test}/<class>/ (val and test only where the set has official ones), reports/dataset.json,
        reports/groups.csv (picture, hash, group of near-duplicates), reports/issues.csv (picture, issue),
        reports/dataset/: class counts, sizes, a contact sheet of each class
Params  base.seed, download
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from stages.common.data import archives, inspection, rows, sheets, sources
from stages.common.data.fetch import fetch, verify
from stages.common.data.sources import Found, safe
from stages.common.data.validation import Bounds, beyond_limit, check, copies, jobs
from stages.common.errors import StageError
from stages.common.files import scratch_folder, whole_folder, write_csv, write_json
from stages.common.folder_md5 import folder_md5
from stages.common.parallel import on_all_cores
from stages.common.params import Base, Section
from stages.common.paths import DATASET_PLOTS, DATASET_REPORT, GROUPS, ISSUES, RAW
from stages.common.pictures import PARTS, labelled
from stages.common.stage import run


class Csv(Section):
    """How the rows of source csv are to be read."""

    shape: list[Annotated[int, Field(ge=1)]] = Field(default=[28, 28], min_length=2, max_length=3)
    header: bool = False

    @field_validator("shape")
    @classmethod
    def _grey_or_colour(cls, shape: list[int]) -> list[int]:
        if shape[2:] not in ([], [3]):
            raise ValueError("it must be [height, width] for grey or [height, width, 3] for colour")
        return shape


class Params(Section):
    """Section `download` of params.yaml."""

    source: Literal["tfds", "folder", "archive", "csv", "idx"]
    name: str = Field(min_length=1)
    data_dir: str | None = None
    manual_dir: str | None = None
    path: str = Field(min_length=1)
    url: str | None = None
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    unpacked_gb: float = Field(50, gt=0)
    unpacked_files: int = Field(1_000_000, ge=1)
    csv: Csv = Csv()
    classes: list[str] | dict[str, str] | None = None
    limit_per_class: int | None = Field(ge=2)
    on_bad: Literal["drop", "fail"]
    min_side: int = Field(10, ge=1)
    max_megapixels: float = Field(100, gt=0)
    near_duplicates: float | None = Field(0.95, gt=0, le=1)

    @field_validator("classes")
    @classmethod
    def _names(cls, classes: list[str] | dict[str, str] | None) -> list[str] | dict[str, str] | None:
        for name in classes.values() if isinstance(classes, dict) else ():
            if safe(name) != name:
                raise ValueError(f"{name!r} cannot be a folder's name: {safe(name)!r} can")
        return classes


def main(base: Base, params: Params) -> None:
    """Keep the good pictures of the source, look at them, and report both."""
    with whole_folder(RAW) as folder:
        with ExitStack() as scratch:
            report = keep(find(params, scratch), folder, params, base.seed)
        report |= describe(folder, params.near_duplicates) | {"md5": folder_md5(folder)}
    write_json(DATASET_REPORT, report)
    print(f"download: {report['kept']:,} pictures of {len(report['classes'])} classes in {RAW}", end="")
    print(f", {len(report['dropped']):,} dropped: see {DATASET_REPORT}" if report["dropped"] else "")
    if twins := len(report["near_duplicates_with_two_labels"]):
        print(f"download: {twins:,} groups of near-duplicates have two labels or more: see {DATASET_REPORT}")


def find(params: Params, scratch: ExitStack) -> Iterator[Found]:
    """What the source has; an archive is unpacked into a folder that lasts as long as `scratch`."""
    if params.source == "tfds":
        return sources.from_tfds(params.name, params.data_dir, params.manual_dir)
    path = fetch(params.url, params.sha256) if params.url else Path(params.path)
    if path.is_file() and not params.url:
        verify(path, params.sha256, str(path))
    if params.source == "archive" or archives.is_archive(path):
        limits = archives.Limits(int(params.unpacked_gb * 1e9), params.unpacked_files)
        path = archives.unpack(path, scratch.enter_context(scratch_folder(RAW)), limits)
    if params.source == "csv":
        return rows.from_csv(path, tuple(params.csv.shape), params.csv.header)
    return rows.from_idx(path) if params.source == "idx" else sources.from_folder(path)


def keep(found: Iterable[Found], folder: Path, params: Params, seed: int) -> dict[str, Any]:
    """Write the good pictures to `folder/<part>/<class>/` and return the report: kept + dropped = found.

    Of every class of the part `train`, `limit_per_class` pictures stay, those whose bytes have the smallest hash with
    the seed, so that the choice does not depend on the order in which a source lists them. Copies are left out of
    train; official val and test stay whole.

    Raises:
        StageError: a bad picture with `on_bad` fail, a class without a good one, or a class that is not there.
    """
    others: Counter[str] = Counter()
    chosen = sources.choose(found, params.classes, others)
    bounds = Bounds(params.min_side, params.max_megapixels * 1e6)
    checked = list(on_all_cores(check, jobs(chosen, folder, bounds, seed)))
    good = {item.target: item for item in checked if not item.reason}
    twins, two_labels = copies([item for item in good.values() if item.part == "train"])
    bad = {item.target: item.reason for item in checked if item.reason} | two_labels
    if params.on_bad == "fail" and bad:
        first = min(bad)
        raise StageError(f"{first.relative_to(folder)}: {bad[first]} (download.on_bad is fail).")
    reasons = bad | twins
    dropped = sorted((target.relative_to(folder).as_posix(), reason) for target, reason in reasons.items())
    left = {target: item for target, item in good.items() if target not in reasons}
    beyond = beyond_limit([item for item in left.values() if item.part == "train"], params.limit_per_class)
    for target in (good.keys() & reasons.keys()) | beyond:
        target.unlink()
    kept = [item for target, item in left.items() if target not in beyond]
    counts = Counter(item.label for item in kept)
    if empty := sorted({item.label for item in checked if item.label} - set(counts)):
        reason = next(reason for path, reason in dropped if f"/{empty[0]}/" in path)
        raise StageError(f"class {empty[0]} has no good picture ({reason}): add some, or choose download.classes.")
    if not counts:
        raise StageError("the source holds no pictures in class folders: check download.path.")
    if len(kept) + len(dropped) + len(beyond) != len(checked):
        raise AssertionError("a picture was lost")
    return {
        "found": len(kept) + len(dropped),
        "kept": len(kept),
        "beyond_limit_per_class": len(beyond),
        "in_other_classes": others.total(),
        "classes": dict(sorted(counts.items())),
        "dropped": [{"path": path, "reason": reason} for path, reason in dropped],
        "named_wrongly": sorted(item.target.relative_to(folder).as_posix() for item in kept if item.named_wrongly),
    }


def describe(folder: Path, least: float | None) -> dict[str, Any]:
    """Look at all pictures; write the lists and plots, and return what belongs into the report."""
    pictures = [picture for part in PARTS if (folder / part).is_dir() for picture in labelled(folder / part)]
    names = [path.relative_to(folder).as_posix() for path, _ in pictures]
    looks = inspection.look([path for path, _ in pictures])
    groups = inspection.near_duplicates(looks, least)
    group_of = {row: number for number, group in enumerate(groups, start=1) for row in group}
    hashes = [f"{item.hash:016x}" for item in looks]
    write_csv(
        GROUPS,
        ("picture", "hash", "group"),
        [(name, hashes[row], group_of.get(row, "")) for row, name in enumerate(names)],
    )
    issues = inspection.issues(looks)
    write_csv(ISSUES, ("picture", "issue"), [(names[row], issue) for issue in issues for row in issues[issue]])
    with whole_folder(DATASET_PLOTS) as plots:
        sheets.data_set(pictures, [(item.width, item.height) for item in looks], plots)
    return {
        "issues": {issue: len(found) for issue, found in issues.items()},
        "near_duplicate_groups": len(groups),
        "near_duplicates_with_two_labels": [
            [names[row] for row in group] for group in groups if len({pictures[row].label for row in group}) > 1
        ],
    }


if __name__ == "__main__":
    run("download", main)
