"""Source `tfds`: image-classification sets of TensorFlow Datasets."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from darkroom.core import runtime
from darkroom.core.errors import UserError, is_of_the_machine
from darkroom.core.network import reachable
from darkroom.core.terminal import progress
from darkroom.download import tfds_mirror
from darkroom.download.params import Params
from darkroom.download.parts import PARTS_BY_WORD
from darkroom.download.sources.base import Source, SourceFile, safe_name


def read(params: Params, scratch: Path) -> Source:
    """Pictures of the set `download.name`, as they are encoded there.

    Raises:
        UserError: there is no such set, it has no labelled pictures, or it cannot be downloaded.
    """
    runtime.import_tensorflow()
    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    builder = _builder(str(params.name), params.data_dir)
    _check_tracked(builder, params)
    prepare(builder, params.manual_dir)
    classes = [safe_name(label) for label in builder.info.features["label"].names]
    if len(set(classes)) < len(classes):
        raise UserError(f"download.name {params.name} has classes with the same folder name: {sorted(classes)}.")
    parts = _parts(builder.info.splits, str(params.name))
    return Source(_pictures(builder, parts, classes), f"TensorFlow Datasets' {builder.info.full_name}")


def _pictures(builder: Any, parts: dict[str, str], classes: list[str]) -> Iterator[SourceFile]:
    import tensorflow_datasets as tfds

    # One shard after another: the pictures come in the order of the set.
    in_order = tfds.ReadConfig(interleave_cycle_length=1)
    for split, part in parts.items():
        count = builder.info.splits[split].num_examples
        examples = builder.as_dataset(
            split=split, decoders={"image": tfds.decode.SkipDecoding()}, read_config=in_order, shuffle_files=False
        )
        # Other features may differ in shape from picture to picture, and single examples take four times as long.
        batches = examples.map(lambda example: (example["image"], example["label"])).batch(64)
        pictures = _intact(tfds.as_numpy(batches), count, builder.data_dir)
        for number, (content, label) in enumerate(progress(pictures, count, f"reading {builder.name} {split}")):
            suffix = "png" if content.startswith(b"\x89PNG") else "jpg"
            yield SourceFile(part, classes[label], f"{number:06d}.{suffix}", content)


def _intact(batches: Iterable[Any], count: int, folder: str) -> Iterator[tuple[bytes, int]]:
    """The pictures of a split with their labels.

    Raises:
        UserError: the prepared files are damaged (each record has a checksum) or not all there.
    """
    import tensorflow as tf

    number, reason = 0, ""
    try:
        for batch in batches:
            yield from zip(*batch, strict=True)
            number += len(batch[0])
    except tf.errors.OpError as error:
        if isinstance(error, tf.errors.ResourceExhaustedError):
            raise
        reason = " ".join(str(error.message).split())[:200]
    if reason or number != count:
        raise _damaged(folder, reason or f"{number:,} of {count:,} pictures")


def _damaged(folder: Path | str, reason: str) -> UserError:
    return UserError(
        f"the prepared data set in {folder} is damaged ({reason}): delete this folder; it is prepared again if "
        "TensorFlow Datasets knows it."
    )


def _check_tracked(builder: Any, params: Params) -> None:
    """Check that files which only this machine has lie below `download.path`, where DVC notices a change.

    A registered set is the same everywhere: its version and the checksums of its downloads say what it is.
    """
    import tensorflow_datasets as tfds

    own = {"manual_dir": params.manual_dir} if params.manual_dir else {}
    try:
        tfds.builder_cls(builder.name)
    except tfds.core.registered.DatasetNotFoundError:
        own["name"] = str(Path(builder.data_dir).parent)
    for key, place in own.items():
        if not Path(place).expanduser().resolve().is_relative_to(Path(params.path).resolve()):
            raise UserError(
                f"download.{key}: the files of {params.name} in {place} are outside download.path, so DVC would not "
                f"notice when they change: set download.path to {place}."
            )


def _builder(name: str, data_dir: str | None) -> Any:
    """The builder of a set of labelled pictures."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except Exception as error:
        if is_of_the_machine(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        unknown = tfds.core.registered.DatasetNotFoundError, AssertionError, ValueError
        if isinstance(error, unknown) and not isinstance(error, json.JSONDecodeError):
            raise UserError(f"download.name {name} is not in TensorFlow Datasets ({reason}).") from None
        # TensorFlow Datasets has many errors for its own files.
        folder = Path(data_dir or tfds.core.constants.DATA_DIR, re.split("[:/]", name)[0]).expanduser()
        raise _damaged(folder, reason) from None
    features = builder.info.features
    if not {"image", "label"} <= set(features) or not hasattr(features["label"], "names"):
        raise UserError(f"download.name {name} has no image and label: choose an image-classification set.")
    return builder


def _parts(splits: Any, name: str) -> dict[str, str]:
    """The part that each split of the set becomes; a set with one split is all train."""
    official = {split: PARTS_BY_WORD[split] for split in sorted(set(splits) & set(PARTS_BY_WORD))}
    if "train" in official:
        return official
    if len(splits) > 1:
        raise UserError(f"download.name {name} has no split called train, but {', '.join(splits)}.")
    return {next(iter(splits)): "train"}


def prepare(builder: Any, manual_dir: str | None) -> None:
    """Download and prepare the set once; later runs find it in TensorFlow Datasets' own folder.

    Raises:
        UserError: its files cannot be downloaded from its servers or from a mirror.
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
    except Exception as error:  # network, checksum, or a set that needs files downloaded by hand
        if is_of_the_machine(error):
            raise
        raise UserError(f"data set {builder.name} cannot be prepared: {' '.join(str(error).split())[:300]}") from error
