"""Source `folder`: a folder of pictures for each class, on this machine or in an archive."""

from collections.abc import Iterator
from pathlib import Path

from darkroom.core import paths
from darkroom.core.errors import UserError
from darkroom.core.terminal import progress
from darkroom.download.local import local_path
from darkroom.download.params import Params
from darkroom.download.sources.base import PART_NAMES, Source, SourceFile, visible_files
from darkroom.images.folders import class_folders


def read(params: Params, scratch: Path) -> Source:
    """Files of `download.path`."""
    return labelled_files(local_path(params, scratch))


def labelled_files(folder: Path) -> Source:
    """Files in `folder/<class>/`, or in `folder/{train,val,test}/<class>/` where there is a `train`.

    Files outside the class folders have an error as their content, so that the report lists them.

    Raises:
        UserError: the folder is missing or holds no class folders.
    """
    if not folder.is_dir() or not class_folders(folder):
        raise UserError(f"download.path {folder} holds no class folders: {_remedy()}")
    official = {entry: PART_NAMES.get(entry.name.lower()) for entry in class_folders(folder)}
    parts = {entry: part for entry, part in official.items() if part}
    if "train" not in parts.values():
        parts = {folder: "train"}
    if repeated := [entry.name for entry in parts if list(parts.values()).count(parts[entry]) > 1]:
        raise UserError(f"{' and '.join(repeated)} in {folder} mean the same part: join them.")
    files = list(_in_class_folders(parts))
    used = {file.content for file in files}
    files += [
        SourceFile("", "", path.relative_to(folder).as_posix(), UserError("in no class folder"))
        for path in visible_files(folder)
        if path not in used
    ]
    return Source(progress(files, len(files), f"checking {folder}", unit="files"), "class folders")


def _remedy() -> str:
    if paths.home() != Path.cwd():
        return (
            "DVC's folders for queued experiments have only what git and DVC know; version the pictures with `dvc "
            "add`, or name each class folder with -C when you queue."
        )
    return (
        "put one folder of pictures for each class there, or set download.source to tfds; where only a colleague "
        "has the pictures, `dvc checkout && dvc repro --downstream split` continues from data/raw."
    )


def _in_class_folders(parts: dict[Path, str]) -> Iterator[SourceFile]:
    for root, part in parts.items():
        for folder in class_folders(root):
            files = visible_files(folder)
            if not files and part == "train":
                yield SourceFile(part, folder.name, "(nothing)", UserError("the folder is empty"))
            for path in files:
                # split-folders only reads files directly in the class folder, so nested ones move up, renamed.
                yield SourceFile(part, folder.name, "__".join(path.relative_to(folder).parts), path)
