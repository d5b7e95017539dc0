"""Where labelled pictures come from: each source yields the files as it has them, unchecked."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from stages.common import hardware, mirrors
from stages.common.errors import StageError
from stages.common.pictures import class_folders, labelled
from stages.common.progress import progress

# What official parts are called in TensorFlow Datasets and in folders, and what they are called here.
OFFICIAL = {"train": "train", "validation": "val", "valid": "val", "val": "val", "test": "test"}


class Found(NamedTuple):
    """A file as the source has it, not yet known to be a picture."""

    part: str
    label: str
    name: str
    data: bytes


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
    if len(set(classes)) < len(classes):
        raise StageError(f"download.name {name} has classes whose names are one as folder names: {sorted(classes)}.")
    for split in sorted(set(builder.info.splits) & set(OFFICIAL)):
        count = builder.info.splits[split].num_examples
        examples = builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()})
        for number, example in enumerate(progress(tfds.as_numpy(examples), count, f"reading {name} {split}")):
            ending = "png" if example["image"].startswith(b"\x89PNG") else "jpg"
            yield Found(OFFICIAL[split], classes[example["label"]], f"{number:06d}.{ending}", example["image"])


def prepare(builder: Any) -> None:
    """Download and prepare the set once; later runs find it in TensorFlow Datasets' own folder.

    Raises:
        StageError: its files can be had neither from its servers nor from a mirror.
    """
    import tensorflow_datasets as tfds

    if Path(builder.data_dir).is_dir():
        return
    urls = list(getattr(builder, "url_infos", {}))
    manual = None
    if urls and not mirrors.reachable(urls[0]):
        manual = Path(builder.data_dir).parents[1] / "downloads" / "manual" / builder.name
        mirrors.tfds_files(builder.name, manual)
    config = tfds.download.DownloadConfig(try_download_gcs=False, manual_dir=manual)
    try:
        builder.download_and_prepare(download_config=config)
    except Exception as error:  # of the network, of a checksum, of a set that asks for files by hand
        raise StageError(f"data set {builder.name} cannot be prepared: {' '.join(str(error).split())[:300]}") from error


def safe(label: str) -> str:
    """A class name that can be a folder's name on every system."""
    return re.sub(r'[\\/:*?"<>|\s]+', "_", label).strip("._") or "_"
