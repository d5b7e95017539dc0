"""SHA-256 of files, arrays and code; MD5 of folders as DVC computes it."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from darkroom.core import outputs
from darkroom.core.folders import files_below

PACKAGE = Path(__file__).parents[1]
# These rooms cannot change an output: they check params.yaml and report to MLflow.
WITHOUT_EFFECT = ("pipeline", "tracking")
_IMPORT = re.compile(r"^\s*from darkroom\.(commands\.\w+|\w+)", re.MULTILINE)  # every command counts as a room


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits.

    Raises:
        UserError: it is a pipe or the like, which would be waited for.
    """
    if path.exists() and not path.is_file():
        raise outputs.damaged(path, "it is not a file")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def arrays_sha256(arrays: Iterable[np.ndarray]) -> str:
    """Return the SHA-256 over float32 arrays in order: of each, its shape and its little-endian bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(tuple(int(size) for size in array.shape)).encode())
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digest.hexdigest()


def files_sha256(files: Iterable[Path], root: Path) -> str:
    """Return the SHA-256 over `digest_lines`."""
    return hashlib.sha256(digest_lines(files, root).encode()).hexdigest()


def digest_lines(files: Iterable[Path], root: Path) -> str:
    """Return a line `<sha256 of the file>  <path below root>` for each file, sorted by path, as `sha256sum` does."""
    named = sorted((path.relative_to(root).as_posix(), path) for path in files)
    return "".join(f"{sha256(path)}  {name}\n" for name, path in named)


def folder_sha256(folder: Path) -> str:
    """Return `files_sha256` of all files in a folder."""
    return files_sha256(files_below(folder), folder)


def code_files(*rooms: str) -> list[Path]:
    """List the files of rooms (subpackages of darkroom) and of all rooms that they import, sorted.

    Rooms count as a whole, so that a new module needs no entry anywhere. Those in `WITHOUT_EFFECT` are left out.
    """
    pending, seen = list(rooms), set(WITHOUT_EFFECT)
    files = [PACKAGE / "__init__.py"]
    while pending:
        room = pending.pop()
        if room not in seen:
            seen.add(room)
            paths = [(PACKAGE / room).with_suffix(".py"), *(PACKAGE / room).rglob("*")]
            own = [path for path in paths if path.is_file() and "__pycache__" not in path.parts]
            texts = [path.read_text(encoding="utf-8") for path in own if path.suffix == ".py"]
            pending += [name.replace(".", "/") for text in texts for name in _IMPORT.findall(text)]
            files += own
    return sorted(files)


def code_digest(*rooms: str) -> str:
    """Return the SHA-256 of the code of rooms and of all that they import, as part of a cache key."""
    return files_sha256(code_files(*rooms), PACKAGE)


def md5s(folder: Path) -> dict[str, str]:
    """Return the MD5 of each file in a folder, by its path below the folder, with slashes."""
    result = {}
    for path in files_below(folder):
        with path.open("rb") as stream:
            result[path.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "md5").hexdigest()
    return result


def listing_md5(files: Mapping[str, str]) -> str:
    """Return the MD5 that DVC records for a folder in dvc.lock (`….dir`), by DVC's own code.

    With it a stage can report its inputs and outputs, although DVC writes dvc.lock only after the stage.

    Args:
        files: their MD5s, as `md5s` returns them.
    """
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.meta import Meta
    from dvc_data.hashfile.tree import Tree

    tree = Tree()
    meta = Meta()
    for path, md5 in files.items():
        tree.add(tuple(path.split("/")), meta, HashInfo("md5", md5))
    tree.digest()
    return str(tree.oid)
