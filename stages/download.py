"""Fetch labelled pictures, check each one, keep the good ones in a folder for each class, and describe the set.

Reads   the source `download.source`: a set of TensorFlow Datasets, or `download.path` or `download.url`
Writes  data/raw/{train,val,test}/<class>/ (val and test only where the set has official ones), reports/dataset.json,
        reports/groups.csv (picture, hash, group of near-duplicates), reports/issues.csv (picture, issue),
        reports/dataset/: class counts, sizes, a contact sheet of each class
Params  base.seed, download
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from darkroom.core.errors import UserError
from darkroom.core.files import scratch_folder, whole_folder, write_csv, write_json
from darkroom.core.hashing import folder_md5
from darkroom.core.parallel import on_all_cores
from darkroom.core.params import Base
from darkroom.core.paths import DATASET_PLOTS, DATASET_REPORT, GROUPS, ISSUES, RAW
from darkroom.download import inspection, selection, sources
from darkroom.download.params import Params
from darkroom.download.selection import Selection
from darkroom.download.sources.base import SourceFile
from darkroom.download.validation import Bounds, check, jobs
from darkroom.images.folders import PARTS, labelled
from darkroom.pipeline.script import run


def main(base: Base, params: Params) -> None:
    """Collect the good pictures of the source, inspect them, and report on both."""
    with whole_folder(RAW) as folder:
        with scratch_folder(RAW) as scratch:
            source = sources.read(params, scratch)
            for line in (source.description, *source.details.get("notes", ())):
                print(f"download: {line}", flush=True)
            report = collect(source.files, folder, params, base.seed)
        report |= describe(folder, params.near_duplicates) | {"md5": folder_md5(folder)}
    report = {"source": {"description": source.description, **source.details}} | report
    write_json(DATASET_REPORT, report)
    dropped = f", {len(report['dropped']):,} dropped: see {DATASET_REPORT}" if report["dropped"] else ""
    print(f"download: {report['kept']:,} pictures of {len(report['classes'])} classes in {RAW}{dropped}")
    if conflicts := len(report["near_duplicates_with_two_labels"]):
        print(f"download: {conflicts:,} groups of near-duplicates have two labels or more: see {DATASET_REPORT}")


def collect(files: Iterable[SourceFile], folder: Path, params: Params, seed: int) -> dict[str, Any]:
    """Write the good pictures to `folder/<part>/<class>/` and return the report: kept + dropped = found.

    In train, copies are left out and `limit_per_class` pictures of each class are kept: those whose bytes have the
    smallest hash with the seed, so that the choice does not depend on the order of the source. Official val and test
    stay whole.

    Raises:
        UserError: a bad picture with `on_bad` fail, a class without a good one, or a class that does not exist.
    """
    ignored: Counter[str] = Counter()
    chosen = selection.of_classes(files, params.classes, ignored)
    bounds = Bounds(params.min_side, params.max_megapixels * 1e6)
    checked = list(on_all_cores(check, jobs(chosen, folder, bounds, seed)))
    selected = selection.select(checked, params.limit_per_class)
    if params.on_bad == "fail" and selected.bad:
        first = min(selected.bad)
        raise UserError(f"{first.relative_to(folder)}: {selected.bad[first]} (download.on_bad is fail).")
    kept = {item.target for item in selected.kept}
    for item in checked:
        if not item.reason and item.target not in kept:
            item.target.unlink()
    report = summary(selected, folder, ignored)
    if empty := sorted({item.label for item in checked if item.label} - set(report["classes"])):
        reason = next(item["reason"] for item in report["dropped"] if f"/{empty[0]}/" in item["path"])
        raise UserError(f"class {empty[0]} has no good picture ({reason}): add some, or choose download.classes.")
    if not kept:
        raise UserError("the source holds no pictures in class folders: check download.path.")
    return report


def summary(selected: Selection, folder: Path, ignored: Counter[str]) -> dict[str, Any]:
    """The report on a selection; paths are relative to `folder`."""
    reasons = selected.bad | selected.copies
    dropped = sorted((target.relative_to(folder).as_posix(), reason) for target, reason in reasons.items())
    return {
        "found": len(selected.kept) + len(dropped),
        "kept": len(selected.kept),
        "beyond_limit_per_class": len(selected.surplus),
        "in_other_classes": ignored.total(),
        "classes": dict(sorted(Counter(item.label for item in selected.kept).items())),
        "dropped": [{"path": path, "reason": reason} for path, reason in dropped],
        "named_wrongly": sorted(
            item.target.relative_to(folder).as_posix() for item in selected.kept if item.wrong_suffix
        ),
    }


def describe(folder: Path, threshold: float | None) -> dict[str, Any]:
    """Inspect all pictures, write the tables and plots, and return the inspection's part of the report."""
    from darkroom.download import plots  # imports matplotlib

    pictures = [picture for part in PARTS if (folder / part).is_dir() for picture in labelled(folder / part)]
    names = [path.relative_to(folder).as_posix() for path, _ in pictures]
    measures = inspection.measure([path for path, _ in pictures])
    groups = inspection.near_duplicates(measures, threshold)
    group_of = {row: number for number, group in enumerate(groups, start=1) for row in group}
    hashes = [f"{item.hash:016x}" for item in measures]
    rows = [(name, hashes[row], group_of.get(row, "")) for row, name in enumerate(names)]
    write_csv(GROUPS, ("picture", "hash", "group"), rows)
    issues = inspection.issues(measures)
    write_csv(ISSUES, ("picture", "issue"), [(names[row], issue) for issue in issues for row in issues[issue]])
    with whole_folder(DATASET_PLOTS) as target:
        plots.data_set(pictures, [(item.width, item.height) for item in measures], target)
    return {
        "issues": {issue: len(affected) for issue, affected in issues.items()},
        "near_duplicate_groups": len(groups),
        "near_duplicates_with_two_labels": [
            [names[row] for row in group] for group in groups if len({pictures[row].label for row in group}) > 1
        ],
    }


if __name__ == "__main__":
    run("download", main)
