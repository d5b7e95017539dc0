"""The readings of a tree: its folders as classes, as parts with classes, or as classes with parts."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from darkroom.download.parts import parts_by_name
from darkroom.download.tree import Tree
from darkroom.images.folders import PARTS

# Of each part, a folder or several, or None for none; or None for all: they are found by their names.
Named = Mapping[str, str | list[str] | None] | None


class ClassFolder(NamedTuple):
    """A folder that has pictures of one class in one part."""

    part: str
    label: str
    tree: Tree


class Layout(NamedTuple):
    """How a tree is read."""

    kind: str  # classes | parts | classes with parts
    folders: list[ClassFolder]
    roots: dict[str, list[Tree]]  # of each part: the folders that have the class folders


class UnclearError(Exception):
    """Why a tree cannot be read without a person's decision."""


def unwrapped(tree: Tree) -> Tree:
    """The folder inside those that only wrap it: with one folder of pictures, which has folders itself.

    A few pictures beside it, such as a preview, belong to no class.
    """
    while len(tree.filled) == 1 and 2 * tree.own_pictures < tree.pictures and tree.filled[0].filled:
        tree = tree.filled[0]
    return tree


def innermost(tree: Tree) -> Tree:
    """The folder inside those that have nothing but one folder of pictures."""
    while len(tree.filled) == 1 and not tree.own_pictures:
        tree = tree.filled[0]
    return tree


def classes(top: Tree) -> Layout:
    """Each folder is a class."""
    folders = [folder for folder in top.folders if folder.pictures or folder.is_empty]
    return Layout("classes", [ClassFolder("train", folder.name, folder) for folder in folders], {"train": [top]})


def parts_with_classes(top: Tree, parts: dict[str, str]) -> Layout:
    """Folders of official parts, each with a folder for each class."""
    roots: dict[str, list[Tree]] = {}
    for folder in top.filled:
        if folder.name in parts:
            roots.setdefault(parts[folder.name], []).append(folder)
    if "train" not in roots:
        raise UnclearError(no_training(top))
    for part, trees in roots.items():
        if len(trees) > 1:
            names = listed(tree.name for tree in trees)
            raise UnclearError(f"{names} mean the same part: join them, or set download.parts: {{{part}: [{names}]}}")
    return _of_roots(roots)


def _of_roots(roots: dict[str, list[Tree]]) -> Layout:
    inner = {part: [unwrapped(tree) for tree in trees] for part, trees in roots.items()}
    folders = [
        ClassFolder(part, folder.name, folder)
        for part in PARTS
        for tree in inner.get(part, ())
        for folder in tree.folders
        if folder.pictures or (folder.is_empty and part == "train")
    ]
    return Layout("parts", folders, inner)


def named_parts(tree: Tree, top: Tree, parts: Mapping[str, str | list[str] | None]) -> Layout:
    """The parts that `download.parts` names: folders, or folders in each class folder."""
    named = {part: [names] if isinstance(names, str) else list(names) for part, names in parts.items() if names}
    roots = {part: [tree.find(name) or top.find(name) for name in names] for part, names in named.items()}
    if all(all(trees) for trees in roots.values()):
        return _of_roots({part: [root for root in trees if root] for part, trees in roots.items()})
    folders = [
        ClassFolder(part, folder.name, inner)
        for part, names in named.items()
        for folder in top.filled
        for name in names
        if (inner := folder.find(name)) is not None and inner.pictures
    ]
    missing = [
        name for names in named.values() for name in names if not any(folder.find(name) for folder in top.filled)
    ]
    if missing:
        raise UnclearError(f"download.parts names {listed(missing)}, and there is no such folder")
    return Layout("classes with parts", folders, {part: [top] for part in named})


def classes_with_parts(top: Tree) -> Layout:
    """Class folders, each with folders of official parts."""
    folders = [
        ClassFolder(part, folder.name, child)
        for folder in top.filled
        for child in folder.filled
        if (part := inner_parts(folder)[child.name])
    ]
    return Layout("classes with parts", folders, {part: [top] for part in PARTS if part in {f.part for f in folders}})


def is_divided(folder: Tree) -> bool:
    """Whether all that is in a class folder are parts."""
    return bool(folder.filled) and not folder.own_pictures and len(inner_parts(folder)) == len(folder.filled)


def inner_parts(folder: Tree) -> dict[str, str]:
    """The part that each folder in a class folder means."""
    return parts_by_name(child.name for child in folder.filled)


def no_training(top: Tree) -> str:
    """That no folder is for training, as a clause."""
    return f"none of {listed(folder.name for folder in top.filled)} has a name for training pictures"


def listed(names: Iterable[str]) -> str:
    """Names for a sentence, the first ones of many."""
    ordered = list(names)
    shown_names = ", ".join(ordered[:6])
    return f"{shown_names} and {len(ordered) - 6} more" if len(ordered) > 6 else shown_names
