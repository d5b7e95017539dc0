"""Say what pictures show, with an exported model. Standard output holds the result and nothing else.

    python -m darkroom predict picture.jpg holiday/ 'scans/**/*.png'

Folders are searched through for pictures, hidden files aside; a file that is named is tried, whatever its name.
Ends with 0; with 2 if some pictures could not be read, which does not stop the others; with 1 if none could.

Reads   exports
"""

import contextlib
import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from darkroom.commands.predict import output as answers
from darkroom.commands.predict.output import Answer
from darkroom.core.errors import UserError
from darkroom.core.paths import EXPORTS
from darkroom.core.terminal import progress
from darkroom.images.decode import FORMATS
from darkroom.inference import formats, pretrained
from darkroom.inference.predictor import best, classify, located

ENDINGS = {ending for endings in FORMATS.values() for ending in endings}
MANY = 200  # pictures, from which on progress is shown

Found = tuple[Path, UserError | None]  # a file, or why there is none


def main(paths: list[str], model: Path, form: str, top: int, network: str | None) -> None:
    """Find the pictures, load the model, write what it says."""
    found = find(paths)
    if all(error for _, error in found):
        raise UserError("; ".join(f"{path}: {error}" for path, error in found) + ".")
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # where libraries and progress may write
        exported = pretrained.fetch(network) if network else formats.load(located(model))
        top = min(top, len(exported.classes))
        said = answer(exported, found, top)
        if len(found) >= MANY and (form == "json" or not out.isatty()):
            said = progress(said, len(found), "predicting")
        failed = answers.write(said, form, out, [path for path, _ in found], exported.classes, top)
    if failed:
        sys.exit(2 if failed < len(found) else 1)


def find(given: Iterable[str]) -> list[Found]:
    """The files behind paths and patterns, in the given order and those of a folder in natural order."""
    found: list[Found] = []
    for text in given:
        # Path.glob knows no absolute patterns.
        matches = [text] if os.path.lexists(text) else sorted(glob.glob(text, recursive=True), key=natural_path)  # noqa: PTH207
        files = {path: error for match in matches for path, error in _files(Path(match))}
        nothing = UserError("there are no pictures" if matches else "there is no such file or folder")
        found += files.items() or [(Path(text), nothing)]
    return found


def _files(path: Path) -> list[Found]:
    """The path itself, or if it is a folder, the pictures in it and the folders that cannot be looked into."""
    return sorted(_below(path), key=lambda one: natural_path(one[0])) if _is_folder(path) else [(path, None)]


def _below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Found]:
    """Links to folders are followed, but not to one that they are in."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        yield folder, UserError(f"cannot be looked into ({error.strerror})")
        return
    above |= {folder.resolve()}
    for entry in entries:
        if not _is_folder(entry):
            if entry.suffix.lower() in ENDINGS:
                yield entry, None
        elif not any(one.is_relative_to(entry.resolve()) for one in above):
            yield from _below(entry, above)


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises an error at a link into a closed folder


def natural_path(path: str | Path) -> list[list[str | int]]:
    """A key for sorting by path, 9.png before 10.png."""
    parts = (re.split(r"(\d+)", part) for part in Path(path).parts)
    return [[int(word) if place % 2 else word for place, word in enumerate(words)] for words in parts]


def answer(exported: formats.Exported, found: Sequence[Found], count: int) -> Iterator[Answer]:
    """The `count` most probable classes of each picture, in the order of `found`."""
    predicted = classify(exported, [path for path, error in found if error is None])
    for path, error in found:
        result = error or next(predicted)[1]
        if isinstance(result, UserError):
            yield Answer(path, [], result)
        else:
            yield Answer(path, best(result, exported.classes, count))


def positive(text: str) -> int:
    """A whole number above 0."""
    if int(text) < 1:
        raise ValueError
    return int(text)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "paths": {"nargs": "+", "metavar": "PATH", "help": "a picture, a folder, or a pattern such as 'scans/**/*.png'"},
    "--model": {"type": Path, "default": EXPORTS, "help": "an export, or a folder of them (default: %(default)s)"},
    "--format": {"dest": "form", "choices": answers.FORMATS, "default": "table", "help": "default: %(default)s"},
    "--top": {"type": positive, "default": 3, "metavar": "K", "help": "classes of each picture (default: %(default)s)"},
    "--pretrained": {
        "dest": "network",
        "choices": list(pretrained.WEIGHTS),
        "help": "instead of an export: a network of Keras with ImageNet's 1,000 classes",
    },
}
