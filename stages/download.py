"""Fetch labelled pictures, check every one, and keep the good ones in one folder a class.

Reads   the source that `download.source` names: a set of TensorFlow Datasets, or the folder `download.path`
Writes  data/raw/{train,val,test}/<class>/ (val and test only where the set has official ones), reports/dataset.json
Params  base.seed, download
"""

import bisect
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from stages.common import hardware, mirrors
from stages.common.errors import StageError
from stages.common.files import whole_folder, write_json
from stages.common.params import Base, Section
from stages.common.paths import DATASET_REPORT, RAW
from stages.common.pictures import class_folders, decode, labelled
from stages.common.progress import progress
from stages.common.stage import run

# What official parts are called in TensorFlow Datasets and in folders, and what they are called here.
OFFICIAL = {"train": "train", "validation": "val", "valid": "val", "val": "val", "test": "test"}


class Params(Section):
    """Section `download` of params.yaml."""

    source: Literal["tfds", "folder"]
    name: str = Field(min_length=1)
    path: str = Field(min_length=1)
    limit_per_class: int | None = Field(ge=2)
    on_bad: Literal["drop", "fail"]


class Found(NamedTuple):
    """A file as the source has it, not yet known to be a picture."""

    part: str
    label: str
    name: str
    data: bytes


def main(base: Base, params: Params) -> None:
    """Keep the good pictures of the source, and say what was dropped."""
    found = from_folder(Path(params.path)) if params.source == "folder" else from_tfds(params.name)
    with whole_folder(RAW) as folder:
        report = keep(found, folder, params.limit_per_class, params.on_bad, base.seed)
    write_json(DATASET_REPORT, report)
    print(f"download: {report['kept']:,} pictures of {len(report['classes'])} classes in {RAW}", end="")
    print(f", {len(report['dropped'])} dropped: see {DATASET_REPORT}" if report["dropped"] else "")


def from_folder(folder: Path) -> Iterator[Found]:
    """Files in `folder/<class>/`, or in `folder/{train,val,test}/<class>/` where there is a `train`.

    Raises:
        StageError: the folder is missing or holds no class folders.
    """
    if not folder.is_dir() or not class_folders(folder):
        raise StageError(
            f"download.path {folder} holds no class folders: put one folder of pictures for each class there, "
            "or set download.source to tfds."
        )
    parts = {entry: OFFICIAL[entry.name] for entry in class_folders(folder) if entry.name in OFFICIAL}
    if "train" not in parts.values():
        parts = {folder: "train"}
    files = [(root, part, picture) for root, part in parts.items() for picture in labelled(root)]
    for root, part, (path, label) in progress(files, len(files), f"checking {folder}", unit="files"):
        # split-folders looks for files right below the class folder, so deeper ones move up under a longer name.
        name = "__".join(path.relative_to(root / label).parts)
        yield Found(part, label, name, path.read_bytes())


def from_tfds(name: str) -> Iterator[Found]:
    """Pictures of the TensorFlow Datasets set `name:version`, as they are encoded there.

    Raises:
        StageError: there is no such set, it has no labelled pictures, or it can't be fetched.
    """
    hardware.import_tensorflow()
    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        builder = tfds.builder(name)
    except (tfds.core.registered.DatasetNotFoundError, AssertionError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise StageError(f"download.name {name} is not in TensorFlow Datasets ({said}).") from None
    if not {"image", "label"} <= set(builder.info.features):
        raise StageError(f"download.name {name} has no image and label: choose an image-classification set.")
    prepare(builder)
    classes = [safe(label) for label in builder.info.features["label"].names]
    for split in sorted(set(builder.info.splits) & set(OFFICIAL)):
        count = builder.info.splits[split].num_examples
        examples = builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()})
        for number, example in enumerate(progress(tfds.as_numpy(examples), count, f"reading {name} {split}")):
            ending = "png" if example["image"].startswith(b"\x89PNG") else "jpg"
            yield Found(OFFICIAL[split], classes[example["label"]], f"{number:06d}.{ending}", example["image"])


def prepare(builder: Any) -> None:
    """Download and prepare the set once; later runs find it in TensorFlow Datasets' own folder."""
    import tensorflow_datasets as tfds

    if Path(builder.data_dir).is_dir():
        return
    urls = list(getattr(builder, "url_infos", {}))
    manual = None
    if urls and not mirrors.reachable(urls[0]):
        manual = Path(builder.data_dir).parents[1] / "downloads" / "manual" / builder.name
        mirrors.tfds_files(builder.name, manual)
    config = tfds.download.DownloadConfig(try_download_gcs=False, manual_dir=manual)
    builder.download_and_prepare(download_config=config)


def safe(label: str) -> str:
    """A class name that can be a folder's name on every system."""
    return re.sub(r'[\\/:*?"<>|\s]+', "_", label).strip("._") or "_"


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
