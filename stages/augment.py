"""Make new training pictures until every class has the target count.

Reads   data/split/train
Writes  data/augmented/<class>/ (only the new pictures), data/augmented/.left_out.csv (pictures of data/split/train that
        are not used), reports/augment.csv (all of these files, with their md5), reports/augment.json (per class:
        pictures, added, left out), reports/augment.jpg (before, after)
Params  base.seed, augment
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from darkroom.augment.new_pictures import Job, make, plan, surplus
from darkroom.augment.params import Params
from darkroom.core.errors import UserError
from darkroom.core.files import whole_file, whole_folder, write_csv, write_json
from darkroom.core.hashing import md5s
from darkroom.core.params import Base
from darkroom.core.paths import AUGMENT_FILES, AUGMENT_REPORT, AUGMENT_SHEET, AUGMENTED, LEFT_OUT, SPLIT
from darkroom.core.resources import require_space
from darkroom.drawing.contact_sheets import contact_sheet, spread
from darkroom.images.folders import labelled
from darkroom.pipeline.script import run

SHEET_ROWS, SHEET_PAIRS = 100, 5
MOST = 10_000_000  # new pictures
BLOCK = 4096  # bytes that a file takes on a disk at least


def main(base: Base, params: Params) -> None:
    """Plan and make the new pictures, and report on them."""
    train = SPLIT / "train"
    by_class: dict[str, list[Path]] = {}
    for path, label in labelled(train):
        by_class.setdefault(label, []).append(path)
    target = target_count(by_class, params)
    require_room(by_class, target)
    with whole_folder(AUGMENTED) as folder:
        left_out = {
            label: surplus(paths, target, base.seed) if params.undersample and target else []
            for label, paths in by_class.items()
        }
        names = [path.relative_to(train).as_posix() for paths in left_out.values() for path in paths]
        write_csv(folder / LEFT_OUT, ("picture",), [[name] for name in names])
        jobs = {label: list(plan(paths, target, folder / label)) for label, paths in by_class.items()}
        make([job for class_jobs in jobs.values() for job in class_jobs], params.transforms(), base.seed)
        draw_sheet(jobs)
    report = {
        label: {"pictures": len(paths), "added": len(jobs[label]), "left_out": len(left_out[label])}
        for label, paths in by_class.items()
    }
    write_csv(AUGMENT_FILES, ("file", "md5"), sorted(md5s(AUGMENTED).items()))
    write_json(AUGMENT_REPORT, report)
    print(f"augment: {sum(map(len, jobs.values())):,} new pictures in {AUGMENTED}, {len(names):,} left out")


def target_count(by_class: Mapping[str, Sequence[Path]], params: Params) -> int:
    """The number of pictures that every class is brought to; 0 if none is to be added."""
    if params.target == "max":
        return max(map(len, by_class.values()))
    return 0 if params.target == "none" else int(params.target)


def require_room(by_class: Mapping[str, Sequence[Path]], target: int) -> None:
    """Check that all new pictures can be stored, before the first is made.

    Raises:
        UserError: they are more than `MOST`, or need more space than is free.
    """
    count = sum(max(0, target - len(paths)) for paths in by_class.values())
    if count > MOST:
        raise UserError(f"augment.target {target:,} makes {count:,} new pictures, but the limit is {MOST:,}: lower it.")
    sizes = [path.stat().st_size for paths in by_class.values() for path in spread(paths, SHEET_ROWS)]
    needed = count * max(BLOCK, sum(sizes) / len(sizes))
    require_space(AUGMENTED, needed, f"augment.target {target:,}: {count:,} new pictures", "lower it, or free some")


def draw_sheet(jobs: Mapping[str, Sequence[Job]]) -> None:
    """Draw a row for each class with new pictures, or for some of them: pictures, each with one made from it."""
    labels = spread([label for label, class_jobs in jobs.items() if class_jobs], SHEET_ROWS)
    examples = {label: spread(jobs[label], SHEET_PAIRS) for label in labels}
    rows = [[path for job in class_jobs for path in (job.source, job.target)] for class_jobs in examples.values()]
    titles = [f"{label}: before, after; before, after…" for label in examples]
    with whole_file(AUGMENT_SHEET) as partial:
        contact_sheet(rows or [[]], titles or ["No new pictures."], partial)


if __name__ == "__main__":
    run("augment", main)
