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
from typing import Any

from darkroom.core.errors import UserError
from darkroom.core.files import scratch_folder, whole_folder, write_csv, write_json
from darkroom.core.hashing import folder_md5
from darkroom.core.parallel import on_all_cores
from darkroom.core.params import Base
from darkroom.core.paths import DATASET_PLOTS, DATASET_REPORT, GROUPS, ISSUES, RAW
from darkroom.download import archives, inspection, sources, tables
from darkroom.download import plots as dataset_plots
from darkroom.download.http import fetch, verify
from darkroom.download.params import Params
from darkroom.download.sources import Found
from darkroom.download.validation import Bounds, beyond_limit, check, copies, jobs
from darkroom.images.folders import PARTS, labelled
from darkroom.pipeline.script import run


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
        return sources.from_tfds(str(params.name), params.data_dir, params.manual_dir)
    path = fetch(params.url, params.sha256) if params.url else Path(params.path)
    if path.is_file() and not params.url:
        verify(path, params.sha256, str(path))
    if params.source == "archive" or archives.is_archive(path):
        limits = archives.Limits(int(params.unpacked_gb * 1e9), params.unpacked_files)
        path = archives.unpack(path, scratch.enter_context(scratch_folder(RAW)), limits)
    if params.source == "csv":
        return tables.from_csv(path, tuple(params.csv.shape), params.csv.header)
    return tables.from_idx(path) if params.source == "idx" else sources.from_folder(path)


def keep(found: Iterable[Found], folder: Path, params: Params, seed: int) -> dict[str, Any]:
    """Write the good pictures to `folder/<part>/<class>/` and return the report: kept + dropped = found.

    Of every class of the part `train`, `limit_per_class` pictures stay, those whose bytes have the smallest hash with
    the seed, so that the choice does not depend on the order in which a source lists them. Copies are left out of
    train; official val and test stay whole.

    Raises:
        UserError: a bad picture with `on_bad` fail, a class without a good one, or a class that is not there.
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
        raise UserError(f"{first.relative_to(folder)}: {bad[first]} (download.on_bad is fail).")
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
        raise UserError(f"class {empty[0]} has no good picture ({reason}): add some, or choose download.classes.")
    if not counts:
        raise UserError("the source holds no pictures in class folders: check download.path.")
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
        dataset_plots.data_set(pictures, [(item.width, item.height) for item in looks], plots)
    return {
        "issues": {issue: len(found) for issue, found in issues.items()},
        "near_duplicate_groups": len(groups),
        "near_duplicates_with_two_labels": [
            [names[row] for row in group] for group in groups if len({pictures[row].label for row in group}) > 1
        ],
    }


if __name__ == "__main__":
    run("download", main)
