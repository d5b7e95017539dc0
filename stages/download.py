"""Fetch labelled pictures, check each one, keep the good ones in a folder for each class, and describe the set.

Reads   the source `download.source`: a set of TensorFlow Datasets, or `download.path` or `download.url`;
        data/decisions.csv, people's decisions on labels
Writes  data/raw/{train,val,test}/<class>/ (val and test only where the set has official ones), reports/dataset.json,
        reports/groups.csv (picture, md5, perceptual hash, group of near-duplicates, group in the source, such
        as a patient, what was decided on it, its name by the source's label, width, height, brightness, sharpness;
        also pictures that were decided to be dropped, which are not in data/raw),
        reports/issues.csv (picture, issue),
        reports/dataset/: class counts, sizes, a contact sheet of each class
Params  base.seed, download
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from darkroom.core.errors import UserError
from darkroom.core.files import scratch_folder, whole_folder, write_csv, write_json
from darkroom.core.hashing import listing_md5
from darkroom.core.parallel import on_all_cores
from darkroom.core.params import Base
from darkroom.core.paths import DATASET_PLOTS, DATASET_REPORT, DECISIONS, GROUPS, ISSUES, RAW
from darkroom.download import decisions, inspection, ledger, near_duplicates, selection, sources
from darkroom.download.ledger import Decision
from darkroom.download.params import Params
from darkroom.download.selection import Selection
from darkroom.download.sources.base import SourceFile
from darkroom.download.validation import Bounds, check, jobs
from darkroom.images.folders import Picture
from darkroom.pipeline.script import run


def main(base: Base, params: Params) -> None:
    """Collect the good pictures of the source, inspect them, and report on both."""
    lines = ledger.read(DECISIONS)
    with whole_folder(RAW) as folder:
        with scratch_folder(RAW) as scratch:
            source = sources.read(params, scratch)
            for line in (source.description, *source.details.get("notes", ())):
                print(f"download: {line}", flush=True)
            selected, report = collect(source.files, folder, params, base.seed, ledger.holding(lines))
        report |= describe(folder, selected, params.near_duplicates)
        report |= {"md5": listing_md5({item.name: item.md5 for item in selected.kept})}
        report |= {"decisions": decisions.summary(lines, selected)}
    report = {"source": {"description": source.description, **source.details}} | report
    write_json(DATASET_REPORT, report)
    dropped = f", {len(report['dropped']):,} dropped: see {DATASET_REPORT}" if report["dropped"] else ""
    print(f"download: {report['kept']:,} pictures of {len(report['classes'])} classes in {RAW}{dropped}")
    if conflicts := len(report["near_duplicates_with_two_labels"]):
        print(f"download: {conflicts:,} groups of near-duplicates have two labels or more: see {DATASET_REPORT}")


def collect(
    files: Iterable[SourceFile],
    folder: Path,
    params: Params,
    seed: int,
    holding: Mapping[str, Decision] = MappingProxyType({}),
) -> tuple[Selection, dict[str, Any]]:
    """Write the good pictures to `folder/<part>/<class>/`, with the labels that people decided on.

    In train, copies are left out and `limit_per_class` pictures of each class are kept: those whose bytes have the
    smallest hash with the seed, so that the choice does not depend on the order of the source. Official val and test
    stay whole. Pictures of `download.unlabelled` that got a label are added to train.

    Args:
        files: of the source.
        folder: to write to.
        params: of the stage.
        seed: of the choice within the limit.
        holding: the decision that holds for each picture, by the MD5 of its file.

    Returns:
        What is used and what is not, and the report: kept + dropped = found.

    Raises:
        UserError: a bad picture with `on_bad` fail, a class without a good one, or a class that does not exist.
    """
    ignored: Counter[str] = Counter()
    pool = decisions.labelled(Path(params.unlabelled), holding)
    chosen = chain(selection.of_classes(files, params.classes, ignored), pool)
    bounds = Bounds(params.min_side, params.max_megapixels * 1e6)
    checked = list(on_all_cores(check, jobs(chosen, folder, bounds, seed)))
    checked = decisions.apply(checked, holding, folder, params.class_names, pool)
    selected = selection.select(checked, params.limit_per_class)
    if params.on_bad == "fail" and selected.bad:
        first = min(selected.bad, key=lambda name: name.split("/"))
        raise UserError(f"{first}: {selected.bad[first]} (download.on_bad is fail).")
    kept = {item.name for item in selected.kept}
    for item in checked:
        if not item.reason and item.name not in kept:
            (folder / item.name).unlink()
    report = selection.summary(selected, ignored)
    labels = {item.label for item in checked if item.label and not item.decision}
    if empty := sorted(labels - set(report["classes"])):
        reason = next(item["reason"] for item in report["dropped"] if f"/{empty[0]}/" in item["path"])
        raise UserError(f"class {empty[0]} has no good picture ({reason}): add some, or choose download.classes.")
    if not kept:
        raise UserError("the source holds no pictures in class folders: check download.path.")
    return selected, report


def describe(folder: Path, selected: Selection, threshold: float | None) -> dict[str, Any]:
    """Write the tables and plots, and return the inspection's part of the report.

    Args:
        folder: of the pictures.
        selected: those that are kept, and those that people dropped, which are only listed.
        threshold: `download.near_duplicates`.
    """
    from darkroom.download import plots  # imports matplotlib

    pictures = [*selected.kept, *selected.decided]
    measures = np.frombuffer(b"".join(item.measures for item in pictures), inspection.MEASURES)
    names = [item.name for item in pictures]
    groups = near_duplicates.find(measures, threshold)
    group_of = {row: number for number, group in enumerate(groups, start=1) for row in group}
    hashes = [f"{value:016x}" for value in measures["hash"].tolist()]
    rows = [
        (item.name, item.md5, hashes[row], group_of.get(row, ""), item.group, item.decision, item.source, *values)
        for row, (item, values) in enumerate(zip(pictures, inspection.shown(measures), strict=True))
    ]
    header = ("picture", "md5", "hash", "group", "source_group", "decision", "source")
    write_csv(GROUPS, (*header, *inspection.SHOWN), rows)
    kept = len(selected.kept)
    measures, groups = measures[:kept], [[row for row in group if row < kept] for group in groups]
    issues = inspection.issues(measures)
    write_csv(ISSUES, ("picture", "issue"), [(names[row], issue) for issue in issues for row in issues[issue]])
    with whole_folder(DATASET_PLOTS) as target:
        drawn = [Picture(folder / item.name, item.label) for item in pictures[:kept]]
        plots.data_set(drawn, np.stack([measures["width"], measures["height"]], axis=1), target)
    return {
        "issues": {issue: len(affected) for issue, affected in issues.items()},
        "near_duplicate_groups": sum(len(group) > 1 for group in groups),
        "near_duplicates_with_two_labels": [
            [names[row] for row in group] for group in groups if len({names[row].split("/")[1] for row in group}) > 1
        ],
    }


if __name__ == "__main__":
    run("download", main)
