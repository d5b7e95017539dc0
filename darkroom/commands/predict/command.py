"""Classify pictures with an exported model.

    python -m darkroom predict picture.jpg holiday/ 'scans/**/*.png'

Folders are searched for pictures, with their subfolders and without hidden files; a file given by name is tried,
whatever its ending. Only the result is written to standard output.

Exit code: 0; 2 if some pictures could not be read, which does not stop the others; 1 if none could be read.

Reads   exports
"""

import contextlib
import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from darkroom.commands.predict import output
from darkroom.commands.predict.output import Prediction
from darkroom.core.errors import UserError
from darkroom.core.files import natural_key
from darkroom.core.paths import EXPORTS
from darkroom.core.terminal import progress, unfiltered
from darkroom.images.formats import SUFFIXES
from darkroom.inference import formats, pretrained
from darkroom.inference.predictor import classify, top_classes

MANY = 200  # pictures, from which on progress is shown

Candidate = tuple[Path, UserError | None]  # a file to classify, or the reason why there is none


def main(paths: list[str], model: Path, trust: bool, form: str, top: int, network: str | None) -> None:
    """Find the pictures, load the model, and write the predictions."""
    candidates = find(paths)
    if all(error for _, error in candidates):
        raise UserError("; ".join(f"{path}: {error}" for path, error in candidates) + ".")
    out = unfiltered(sys.stdout)
    with contextlib.redirect_stdout(sys.stderr):  # libraries and progress may print
        exported = pretrained.fetch(network) if network else formats.load(formats.locate(model), trust)
        top = min(top, len(exported.classes))
        predictions = predict(exported, candidates, top)
        if len(candidates) >= MANY and (form == "json" or not out.isatty()):
            predictions = progress(predictions, len(candidates), "predicting")
        failed = output.write(predictions, form, out, [path for path, _ in candidates], exported.classes, top)
    if failed:
        sys.exit(2 if failed < len(candidates) else 1)


def find(arguments: Iterable[str]) -> list[Candidate]:
    """The files behind paths and patterns: arguments in the given order, files of a folder in natural order."""
    candidates: list[Candidate] = []
    for text in arguments:
        # Path.glob does not accept absolute patterns.
        matches = [text] if os.path.lexists(text) else sorted(glob.glob(text, recursive=True), key=_path_key)  # noqa: PTH207
        files = {path: error for match in matches for path, error in _files(Path(match))}
        nothing = UserError("there are no pictures" if matches else "there is no such file or folder")
        candidates += files.items() or [(Path(text), nothing)]
    return candidates


def _files(path: Path) -> list[Candidate]:
    """The path itself or, for a folder, its pictures and the subfolders that cannot be read."""
    return sorted(_walk(path), key=lambda item: _path_key(item[0])) if _is_folder(path) else [(path, None)]


def _walk(folder: Path, parents: frozenset[Path] = frozenset()) -> Iterator[Candidate]:
    """Follow links to folders, except to those that contain the link."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        yield folder, UserError(f"cannot be read ({error.strerror})")
        return
    parents |= {folder.resolve()}
    for entry in entries:
        if not _is_folder(entry):
            if entry.suffix.lower() in SUFFIXES:
                yield entry, None
        elif not any(parent.is_relative_to(entry.resolve()) for parent in parents):
            yield from _walk(entry, parents)


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises an error for a link into an unreadable folder


def _path_key(path: str | Path) -> list[list[str | int]]:
    """A natural sort key that compares paths part by part."""
    return [natural_key(part) for part in Path(path).parts]


def predict(exported: formats.Exported, candidates: Sequence[Candidate], count: int) -> Iterator[Prediction]:
    """The `count` most probable classes of each picture, in the order of `candidates`."""
    results = classify(exported, [path for path, error in candidates if error is None])
    for path, error in candidates:
        result = error or next(results)[1]
        if isinstance(result, UserError):
            yield Prediction(path, [], result)
        else:
            yield Prediction(path, top_classes(result, exported.classes, count))


def positive(text: str) -> int:
    """Parse a whole number above 0."""
    if int(text) < 1:
        raise ValueError
    return int(text)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "paths": {"nargs": "+", "metavar": "PATH", "help": "a picture, a folder, or a pattern such as 'scans/**/*.png'"},
    "--model": {"type": Path, "default": EXPORTS, "help": "an export, or a folder of exports (default: %(default)s)"},
    "--trust": formats.TRUST,
    "--format": {"dest": "form", "choices": output.FORMATS, "default": "table", "help": "default: %(default)s"},
    "--top": {"type": positive, "default": 3, "metavar": "K", "help": "number of classes shown (default: %(default)s)"},
    "--pretrained": {
        "dest": "network",
        "choices": list(pretrained.WEIGHTS),
        "help": "use a Keras network with ImageNet's 1,000 classes instead of an export",
    },
}
