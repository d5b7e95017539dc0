"""Source `folder`: pictures in folders of classes and parts, on this machine or in an archive."""

import hashlib
import os
from collections import Counter
from pathlib import Path

from darkroom.core import paths
from darkroom.core.errors import UserError
from darkroom.core.patterns import first_match
from darkroom.core.terminal import progress
from darkroom.download.layout import parts_of_tree, understand
from darkroom.download.local import local_path, origin
from darkroom.download.params import Params
from darkroom.download.readings import Layout
from darkroom.download.sources.base import Source, SourceFile
from darkroom.download.spelling import one_spelling
from darkroom.download.tables.source import metadata, table_source
from darkroom.download.tree import Tree, read_tree
from darkroom.images.folders import PARTS


def read(params: Params, scratch: Path) -> Source:
    """Files of `download.path`."""
    return labelled_files(local_path(params, scratch), params)


def labelled_files(folder: Path, params: Params) -> Source:
    """The files in a folder with the classes that the folders, their names or a table `metadata.csv` give.

    Files that have no class have an error as their content, so that the report lists them.

    Raises:
        UserError: the folder is missing or has no pictures, or it is not clear what its classes are.
    """
    name = origin(params)
    tree = read_tree(folder) if folder.is_dir() else None
    if tree is None or not tree.pictures:
        what = "has no pictures" if folder.is_dir() else "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"download.path {name} {what}: {_remedy()}")
    named = params.parts.model_dump() if params.parts else None
    if params.label_from:
        files, description, details = _by_names(tree, params)
    elif params.layout == "auto" and params.parts is None and (tables := metadata(tree)):
        return table_source(tables, tree, params)
    else:
        layout = understand(tree, name, params.layout, named)
        files, description = _by_folders(layout, tree), _description(layout, tree)
        details = {"layout": layout.kind, "parts": _roots(layout.roots, tree)}
    files, notes = one_spelling(files, params.classes or ())
    used = {file.content for file in files}
    strays = [path for path in tree.all_files() if path not in used]
    files += [
        SourceFile("", "", path.relative_to(folder).as_posix(), UserError("in no class folder")) for path in strays
    ]
    if strays:
        example = strays[0].relative_to(folder)
        notes.append(f"{len(strays):,} files are in no class folder and left out, such as {example}")
    details |= {"clutter": sum(len(inner.clutter) for inner in tree.walk()), "notes": notes}
    return Source(progress(files, len(files), f"checking {name}", unit="files"), description, details)


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


def _by_folders(layout: Layout, tree: Tree) -> list[SourceFile]:
    """The files in class folders; where several of a class would have one name, a hash of the path is added."""
    files: list[SourceFile] = []
    for part, label, folder in layout.folders:
        inside = _flat(folder)
        files += [SourceFile(part, label, name, path) for name, path in inside]
        if not inside and part == "train":
            files.append(SourceFile(part, label, "(nothing)", UserError("the folder is empty")))
    uses = Counter((file.part, file.label, file.name) for file in files)
    return [
        file._replace(name=_with_hash(file.name, file.content.relative_to(tree.path)))
        if isinstance(file.content, Path) and uses[file.part, file.label, file.name] > 1
        else file
        for file in files
    ]


def _with_hash(name: str, path: Path) -> str:
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    return f"{Path(name).stem}__{digest}{Path(name).suffix}"


def _flat(folder: Tree) -> list[tuple[str, Path]]:
    """All files below a folder, with a name for each: those in folders are named `folder__name`."""
    return [("__".join(path.relative_to(folder.path).parts), path) for path in folder.all_files()]


def _by_names(tree: Tree, params: Params) -> tuple[list[SourceFile], str, dict[str, object]]:
    """The files whose names have the class, by `download.label_from`."""
    pattern = str(params.label_from)
    named = params.parts.model_dump() if params.parts else None
    roots = parts_of_tree(tree, origin(params), params.layout, named)
    files = []
    for part, folders in roots.items():
        for folder in folders:
            for name, path in _flat(folder):
                text = path.relative_to(folder.path).as_posix() if "/" in pattern else path.name
                label = first_match(pattern, text)
                content = path if label else UserError("download.label_from does not match its name")
                files.append(SourceFile(part, label, name, content))
    labels = sorted({file.label for file in files if file.label})
    if not labels:
        raise UserError(f"download.label_from {pattern} matches no file's name, such as {files[0].name}.")
    where = ", ".join(f"{part} in {_places(folders, tree)}" for part, folders in roots.items())
    details: dict[str, object] = {"layout": "file names", "parts": _roots(roots, tree)}
    return files, f"classes from file names: {_some(labels)}; {where}", details


def _description(layout: Layout, tree: Tree) -> str:
    """What was understood, in a line."""
    labels = _some(sorted({folder.label for folder in layout.folders if folder.part == "train"}))
    if layout.kind == "parts":
        where = ", ".join(f"{part} in {_places(layout.roots[part], tree)}" for part in PARTS if part in layout.roots)
        return f"official parts ({where}) with the classes {labels}"
    inner = f", each with folders for {', '.join(layout.roots)}" if layout.kind == "classes with parts" else ""
    place = _places(layout.roots["train"], tree)
    return f"a folder for each class{'' if place == './' else f' in {place}'}: {labels}{inner}"


def _roots(roots: dict[str, list[Tree]], tree: Tree) -> dict[str, list[str]]:
    return {
        part: [root.path.relative_to(tree.path).as_posix() for root in roots[part]] for part in PARTS if part in roots
    }


def _places(folders: list[Tree], tree: Tree) -> str:
    return " and ".join(f"{folder.path.relative_to(tree.path).as_posix()}/" for folder in folders)


def _some(labels: list[str]) -> str:
    return ", ".join(labels[:10]) + (f" and {len(labels) - 10:,} more" if len(labels) > 10 else "")
