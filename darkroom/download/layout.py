"""Which folders of a tree are classes and which are official parts: understood where one reading is sensible.

Read are class folders, alone or in wrapping folders; parts with class folders; class folders with parts; each with
pictures some folders deeper. Where two readings are possible, or the only one is absurd, a person has to decide.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.core.patterns import first_match
from darkroom.download import readings
from darkroom.download.parts import parts_by_name
from darkroom.download.readings import Layout, Named, UnclearError, listed, unwrapped
from darkroom.download.tables.rows import is_table
from darkroom.download.tree import Tree, looks_like_picture, shown
from darkroom.images.folders import PARTS

# Folders that hold all pictures or what belongs to them; no class is called so.
_CONTAINERS = {"images", "imgs", "img", "image", "pictures", "photos", "jpegimages", "jpegs", "annotations", "masks"}
_CONTAINERS |= {"labels", "data", "dataset", "segmentations", "trimaps", "thumbnails", "bounding_boxes", "bboxes"}
NUMBERED = r"^(.*?)[._ -]*\d+\.\w+$"  # the names of pictures that are numbered by class
REMEDY = (
    "To decide, set download.layout to classes (each folder is a class) or parts, or name the parts, such as "
    "download.parts: {train: FOLDER, test: FOLDER}; where file names have the class, set download.label_from."
)


def understand(tree: Tree, name: str, layout: str, parts: Named) -> Layout:
    """Read a tree.

    Args:
        tree: of the source.
        name: the user's name for it, for errors.
        layout: auto, classes or parts.
        parts: `download.parts`.

    Raises:
        UserError: there is no sensible reading, or more than one; the message shows the tree and names the keys that
            decide.
    """
    top = unwrapped(tree)
    try:
        if parts is not None:
            reading = readings.named_parts(tree, top, parts)
        elif layout == "classes":
            reading = readings.classes(top)
        elif layout == "parts":
            reading = readings.parts_with_classes(top, parts_by_name(folder.name for folder in top.filled))
        else:
            reading = _read(top)
        _check(reading, explicit=layout != "auto" or parts is not None)
    except UnclearError as question:
        raise UserError(f"{name}: {question}.\n\n{shown(tree, name)}\n\n{REMEDY}{_other_labels(tree)}") from None
    return reading


def parts_of_tree(tree: Tree, name: str, layout: str, parts: Named) -> dict[str, list[Tree]]:
    """The folders of each part where folders are no classes; all of it is train if it has no parts.

    Raises:
        UserError: `download.parts` names a folder that does not exist, or layout parts finds none for training.
    """
    top = unwrapped(tree)
    try:
        if parts is not None:
            return readings.named_parts(tree, top, parts).roots
        by_name = parts_by_name(folder.name for folder in top.filled)
        if layout == "parts" or (layout == "auto" and "train" in by_name.values()):
            trees = {part: [tree for tree in top.filled if by_name.get(tree.name) == part] for part in PARTS}
            if not trees["train"]:
                raise UnclearError(readings.no_training(top))
            return {part: [readings.innermost(tree) for tree in folders] for part, folders in trees.items() if folders}
    except UnclearError as question:
        raise UserError(f"{name}: {question}.\n\n{shown(tree, name)}\n\n{REMEDY}") from None
    return {"train": [readings.innermost(tree)]}


def _read(top: Tree) -> Layout:
    """The only sensible reading."""
    folders = top.filled
    parts = parts_by_name(folder.name for folder in folders)
    if not folders:
        raise UnclearError("it has pictures, but no class folders" if top.pictures else "it has no pictures")
    if "train" in parts.values():
        return _with_train(top, parts)
    if len(parts) > 1 or len(parts) == len(folders):
        raise UnclearError(f"{listed(parts)} would be for validation or test, and nothing for training")
    divided = [folder for folder in folders if readings.is_divided(folder)]
    if len(divided) == len(folders) and any("train" in readings.inner_parts(folder).values() for folder in folders):
        return readings.classes_with_parts(top)
    if divided:
        raise UnclearError(f"{listed(folder.name for folder in divided)}: are the folders in it official parts?")
    inner = [{child.name.casefold() for child in folder.filled} for folder in folders]
    alike = set.intersection(*inner)
    if len(folders) > 1 and len(alike) > 1 and not any(folder.own_pictures for folder in folders):
        raise UnclearError(
            f"{listed(folder.name for folder in folders)} all have the folders {listed(sorted(alike))}: which "
            "of the two levels are the classes?"
        )
    # Beside a single other folder it must be a class, since a classifier needs two.
    if parts and (len(folders) > 2 or any(inner[folders.index(folder)] for folder in folders if folder.name in parts)):
        raise UnclearError(f"{listed(parts)} has the name of a part: is it a class, or to be left out?")
    return readings.classes(top)


def _with_train(top: Tree, parts: dict[str, str]) -> Layout:
    """The reading of folders one of which has a name for training pictures."""
    folders = {folder.name: folder for folder in top.filled}
    others = [name for name in folders if name not in parts]
    inner = {name: _labels(unwrapped(folders[name])) for name in parts}
    train = [name for name in parts if parts[name] == "train"]
    if not any(inner.values()):
        if len(parts) == 1 and others and not any(folders[name].filled for name in others):
            return readings.classes(top)  # a class that happens to be called so
        raise UnclearError(f"{listed(parts)} have pictures, but no class folders")
    if not all(inner[name] for name in train):
        others_with = listed(name for name in parts if inner[name])
        raise UnclearError(f"{listed(train)} has no class folders, but {others_with} has")
    held_out = [name for name in parts if name not in train and inner[name]]
    labels = set().union(*(inner[name] for name in train))
    if strange := [name for name in held_out if not labels & inner[name]]:
        raise UnclearError(f"{listed(strange)} and {listed(train)} have no class in common")
    if others and not held_out:
        raise UnclearError(
            f"{listed(train)} is either for training, with the classes {listed(sorted(labels))}, or a class beside "
            f"{listed(others)}"
        )
    return readings.parts_with_classes(top, parts)


def _check(layout: Layout, explicit: bool) -> None:
    """Raise a question where a reading is absurd: fewer than two classes, or folders that are no classes."""
    labels = sorted({folder.label for folder in layout.folders if folder.part == "train"})
    if not labels:
        raise UnclearError("there are no pictures of classes for training")
    if len(labels) == 1:
        raise UnclearError(f"there is only one class, {labels[0]}, and a classifier needs at least two")
    if not explicit and (strange := [label for label in labels if label.casefold() in _CONTAINERS]):
        raise UnclearError(f"{listed(strange)} would be a class")


def _other_labels(tree: Tree) -> str:
    """Where else the labels seem to be: a table beside the pictures, or the names of the files."""
    tables = [file.name for file in tree.all_files() if is_table(file)]
    if tables:
        return f"\nIf {listed(tables)} lists the pictures with their labels, set download.source to table."
    if pattern := pattern_of_names(tree.all_files()):
        labels = Counter(first_match(pattern, file.name) for file in tree.all_files() if looks_like_picture(file))
        classes = listed(f"{label} {count:,}" for label, count in sorted(labels.items()))
        return f"\nThe file names suggest download.label_from: '{pattern}' ({classes})."
    return ""


def pattern_of_names(files: Sequence[Path]) -> str | None:
    """The regular expression that finds the class in the names of pictures, if they are numbered by class."""
    names = [file.name for file in files if looks_like_picture(file)]
    labels = Counter(first_match(NUMBERED, name) for name in names)
    return NUMBERED if not labels[""] and 1 < len(labels) <= len(names) / 2 else None


def _labels(tree: Tree) -> set[str]:
    return {folder.name.casefold() for folder in tree.filled}
