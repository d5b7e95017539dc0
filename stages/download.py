"""Fetch labelled pictures, check every one, and keep the good ones in one folder a class.

Reads   the source that `download.source` names: a set of TensorFlow Datasets, or the folder `download.path`
Writes  data/raw/{train,val,test}/<class>/ (val and test only where the set has official ones), reports/dataset.json
Params  base.seed, download
"""

import bisect
import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from stages.common.errors import StageError
from stages.common.files import whole_folder, write_json
from stages.common.params import Base, Section
from stages.common.paths import DATASET_REPORT, RAW
from stages.common.pictures import decode
from stages.common.sources import Found, from_folder, from_tfds
from stages.common.stage import run


class Params(Section):
    """Section `download` of params.yaml."""

    source: Literal["tfds", "folder"]
    name: str = Field(min_length=1)
    path: str = Field(min_length=1)
    limit_per_class: int | None = Field(ge=2)
    on_bad: Literal["drop", "fail"]


def main(base: Base, params: Params) -> None:
    """Keep the good pictures of the source, and say what was dropped."""
    found = from_folder(Path(params.path)) if params.source == "folder" else from_tfds(params.name)
    with whole_folder(RAW) as folder:
        report = keep(found, folder, params.limit_per_class, params.on_bad, base.seed)
    write_json(DATASET_REPORT, report)
    print(f"download: {report['kept']:,} pictures of {len(report['classes'])} classes in {RAW}", end="")
    print(f", {len(report['dropped'])} dropped: see {DATASET_REPORT}" if report["dropped"] else "")


def keep(
    found: Iterable[Found], folder: Path, limit: int | None, on_bad: Literal["drop", "fail"], seed: int
) -> dict[str, Any]:
    """Write the good pictures to `folder/<part>/<class>/` and return the report: kept + dropped = found.

    Of every class of the part `train`, the `limit` pictures with the smallest hash of content and seed stay, so that
    the choice does not depend on the order in which a source lists them; official val and test stay whole.

    Raises:
        StageError: a bad picture with `on_bad` fail, or no good picture in the part `train`.
    """
    dropped: list[dict[str, str]] = []
    counts: Counter[str] = Counter()
    ranked: dict[str, list[tuple[bytes, Path]]] = {}
    beyond = 0
    for item in found:
        target = folder / item.part / item.label / item.name
        try:
            if not item.data:
                raise StageError("empty file")
            if target.exists():
                raise StageError("another file has this name")
            decode(item.data)
        except StageError as reason:
            if on_bad == "fail":
                raise StageError(f"{item.part}/{item.label}/{item.name}: {reason} (download.on_bad is fail).") from None
            dropped.append({"path": f"{item.part}/{item.label}/{item.name}", "reason": str(reason)})
            continue
        counts[item.label] += 1
        if limit is not None and item.part == "train":
            ranking = ranked.setdefault(item.label, [])
            bisect.insort(ranking, (hashlib.sha256(b"%d/" % seed + item.data).digest(), target))
            if len(ranking) > limit:
                counts[item.label] -= 1
                beyond += 1
                last = ranking.pop()[1]
                if last == target:
                    continue
                last.unlink()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(item.data)
    kept = sum(counts.values())
    if not (folder / "train").is_dir():
        raise StageError(
            f"no file of the source can be used: {dropped[0]['path']}: {dropped[0]['reason']}."
            if dropped
            else "the source is empty."
        )
    return {
        "found": kept + len(dropped),
        "kept": kept,
        "beyond_limit_per_class": beyond,
        "classes": dict(sorted(counts.items())),
        "dropped": sorted(dropped, key=lambda item: item["path"]),
    }


if __name__ == "__main__":
    run("download", main)
