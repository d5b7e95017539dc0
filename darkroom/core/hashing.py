"""SHA-256 of files, arrays and code; MD5 of folders as DVC computes it."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

PACKAGE = Path(__file__).parents[1]
# Rooms of the package that cannot change an output: they check params.yaml, and report to MLflow.
WITHOUT_EFFECT = ("pipeline", "tracking")
_IMPORT = re.compile(r"^\s*from darkroom\.(commands\.\w+|\w+)", re.MULTILINE)  # each command is a room


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def arrays_sha256(arrays: Iterable[np.ndarray]) -> str:
    """SHA-256 over float32 arrays in order, each as its shape and its little-endian bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(tuple(int(size) for size in array.shape)).encode())
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digest.hexdigest()


def files_sha256(files: Iterable[Path], root: Path) -> str:
    """SHA-256 over one line `<sha256 of the file>  <path below root>` for each file, sorted by path."""
    paths = sorted((path.relative_to(root).as_posix(), path) for path in files)
    return hashlib.sha256("".join(f"{sha256(path)}  {name}\n" for name, path in paths).encode()).hexdigest()


def folder_sha256(folder: Path) -> str:
    """`files_sha256` of all files in a folder."""
    return files_sha256((path for path in folder.rglob("*") if path.is_file()), folder)


def code_files(*rooms: str) -> list[Path]:
    """The files of some rooms (subpackages of darkroom) and of every room they import, sorted.

    Rooms are whole: a new helper in one of them is counted without being listed anywhere. Those in `WITHOUT_EFFECT` are
    left out.
    """
    todo, seen = list(rooms), set(WITHOUT_EFFECT)
    files: list[Path] = []
    while todo:
        room = todo.pop()
        if room not in seen:
            seen.add(room)
            inside = [(PACKAGE / room).with_suffix(".py"), *(PACKAGE / room).rglob("*")]
            found = [path for path in inside if path.is_file() and "__pycache__" not in path.parts]
            texts = [path.read_text(encoding="utf-8") for path in found if path.suffix == ".py"]
            todo += [name.replace(".", "/") for text in texts for name in _IMPORT.findall(text)]
            files += found
    return sorted(files)


def code_digest(*rooms: str) -> str:
    """SHA-256 of the code that rooms consist of and import: the part of a cache key that says by what code."""
    return files_sha256(code_files(*rooms), PACKAGE)


def folder_md5(folder: Path) -> str:
    """The MD5 that dvc.lock has, or will have, for a folder that DVC tracks: `….dir`.

    It is that of the list of its files, each with its MD5, in DVC's own format (dvc_data.hashfile.tree). A stage can so
    report it for its inputs and outputs, although DVC writes dvc.lock only after the stage.
    """
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.meta import Meta
    from dvc_data.hashfile.tree import Tree

    files = Tree()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                md5 = hashlib.file_digest(stream, "md5").hexdigest()
            files.add(path.relative_to(folder).parts, Meta(), HashInfo("md5", md5))
    files.digest()
    return str(files.oid)
