"""Where labelled pictures come from: each source yields the files as it has them, unchecked."""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from darkroom.core import paths, runtime
from darkroom.core.errors import UserError
from darkroom.core.network import reachable
from darkroom.core.terminal import progress
from darkroom.download import tfds_mirror
from darkroom.images.folders import class_folders

# What official parts are called in TensorFlow Datasets and in folders, and what they are called here.
OFFICIAL = {
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val"},
    **{"test": "test", "testing": "test"},
}


class Found(NamedTuple):
    """What a source has, not yet known to be a picture: a file, its bytes, pixels, or why it can't be had."""

    part: str
    label: str
    name: str
    content: Path | bytes | np.ndarray | UserError


def from_folder(folder: Path) -> Iterator[Found]:
    """Files in `folder/<class>/`, or in `folder/{train,val,test}/<class>/` where there is a `train`.

    Files that lie outside the class folders come with an error as their content, so that none is passed over silently.

    Raises:
        UserError: the folder is missing or holds no class folders.
    """
    if not folder.is_dir() or not class_folders(folder):
        remedy = (
            "put one folder of pictures for each class there, or set download.source to tfds; where only a colleague "
            "has the pictures, `dvc checkout && dvc repro --downstream split` goes on from data/raw."
        )
        if paths.home() != Path.cwd():
            remedy = (
                "DVC's folders for queued experiments have only what git and DVC know; version the pictures by `dvc "
                "add`, or name each class folder by -C when you queue."
            )
        raise UserError(f"download.path {folder} holds no class folders: {remedy}")
    official = {entry: OFFICIAL.get(entry.name.lower()) for entry in class_folders(folder)}
    parts = {entry: part for entry, part in official.items() if part}
    if "train" not in parts.values():
        parts = {folder: "train"}
    if twins := [entry.name for entry in parts if list(parts.values()).count(parts[entry]) > 1]:
        raise UserError(f"{' and '.join(twins)} in {folder} mean the same part: join them.")
    files = list(_in_class_folders(parts))
    used = {file.content for file in files}
    files += [
        Found("", "", path.relative_to(folder).as_posix(), UserError("in no class folder"))
        for path in visible(folder)
        if path not in used
    ]
    yield from progress(files, len(files), f"checking {folder}", unit="files")


def _in_class_folders(parts: dict[Path, str]) -> Iterator[Found]:
    for root, part in parts.items():
        for label in class_folders(root):
            files = visible(label)
            if not files and part == "train":
                yield Found(part, label.name, "(nothing)", UserError("the folder is empty"))
            for path in files:
                # split-folders looks right below the class folder, so deeper files move up, under a longer name.
                yield Found(part, label.name, "__".join(path.relative_to(label).parts), path)


def visible(folder: Path, above: frozenset[str] = frozenset()) -> list[Path]:
    """Everything below `folder` that is no folder and not hidden, in canonical order; links to folders are followed."""
    found = []
    above |= {os.path.realpath(folder)}
    for entry in sorted(folder.iterdir()):
        loop = entry.is_symlink() and any(Path(one).is_relative_to(os.path.realpath(entry)) for one in above)
        if not entry.name.startswith("."):
            found += visible(entry, above) if entry.is_dir() and not loop else [entry]
    return found


def from_tfds(name: str, data_dir: str | None = None, manual_dir: str | None = None) -> Iterator[Found]:
    """Pictures of the TensorFlow Datasets set `name:version`, as they are encoded there.

    Args:
        name: of the set, with or without a version and a configuration (`name/config:version`).
        data_dir: where prepared sets lie; ~/tensorflow_datasets if None.
        manual_dir: where files lie that were downloaded by hand.

    Raises:
        UserError: there is no such set, it has no labelled pictures, or it can't be fetched.
    """
    runtime.import_tensorflow()
    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.registered.DatasetNotFoundError, AssertionError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise UserError(f"download.name {name} is not in TensorFlow Datasets ({said}).") from None
    features = builder.info.features
    if not {"image", "label"} <= set(features) or not hasattr(features["label"], "names"):
        raise UserError(f"download.name {name} has no image and label: choose an image-classification set.")
    prepare(builder, manual_dir)
    classes = [safe(label) for label in features["label"].names]
    if len(set(classes)) < len(classes):
        raise UserError(f"download.name {name} has classes whose names are one as folder names: {sorted(classes)}.")
    splits = sorted(set(builder.info.splits) & set(OFFICIAL))
    parts = {split: OFFICIAL[split] for split in splits}
    if "train" not in splits:
        if len(builder.info.splits) > 1:
            raise UserError(f"download.name {name} has no split called train, but {', '.join(builder.info.splits)}.")
        parts = {next(iter(builder.info.splits)): "train"}
    # One shard after the other: the order is that of the set's own rows.
    in_order = tfds.ReadConfig(interleave_cycle_length=1)
    for split, part in parts.items():
        count = builder.info.splits[split].num_examples
        examples = builder.as_dataset(
            split=split, decoders={"image": tfds.decode.SkipDecoding()}, read_config=in_order, shuffle_files=False
        )
        for number, example in enumerate(progress(tfds.as_numpy(examples), count, f"reading {name} {split}")):
            ending = "png" if example["image"].startswith(b"\x89PNG") else "jpg"
            yield Found(part, classes[example["label"]], f"{number:06d}.{ending}", example["image"])


def prepare(builder: Any, manual_dir: str | None) -> None:
    """Download and prepare the set once; later runs find it in TensorFlow Datasets' own folder.

    Raises:
        UserError: its files can be had neither from its servers nor from a mirror.
    """
    import tensorflow_datasets as tfds

    if Path(builder.data_dir).is_dir():
        return
    manual = Path(manual_dir).expanduser() if manual_dir else None
    urls = list(getattr(builder, "url_infos", {}))
    if manual is None and urls and not reachable(urls[0]):
        manual = Path(builder.data_dir).parents[1] / "downloads" / "manual" / builder.name
        tfds_mirror.tfds_files(builder.name, manual)
    config = tfds.download.DownloadConfig(try_download_gcs=False, manual_dir=manual)
    try:
        builder.download_and_prepare(download_config=config)
    except Exception as error:  # of the network, of a checksum, of a set that asks for files by hand
        raise UserError(f"data set {builder.name} cannot be prepared: {' '.join(str(error).split())[:300]}") from error


def safe(label: str) -> str:
    """A class name that can be a folder's name on every system."""
    return re.sub(r'[\\/:*?"<>|\s]+', "_", label).strip("._") or "_"


def choose(found: Iterable[Found], classes: list[str] | dict[str, str] | None, others: Counter[str]) -> Iterator[Found]:
    """Only the classes that are asked for, under the names that are asked for; `others` counts the rest by class.

    Raises:
        UserError: at the end, for a class that the source does not have.
    """
    names = classes if isinstance(classes, dict) else {name: name for name in classes or ()}
    seen = set()
    for item in found:
        seen.add(item.label)
        if not names or not item.label:
            yield item
        elif item.label in names:
            merged = list(names.values()).count(names[item.label]) > 1  # whose files may have the same names
            file = Path(item.name)  # behind its stem, so that the order of the names stays that of the rows
            name = f"{file.stem}__{item.label}{file.suffix}" if merged else item.name
            yield item._replace(label=names[item.label], name=name)
        else:
            others[item.label] += 1
    if missing := sorted(set(names) - seen):
        raise UserError(
            f"download.classes: the source has no class {missing[0]}, but {', '.join(sorted(seen - {''}))}."
        )
