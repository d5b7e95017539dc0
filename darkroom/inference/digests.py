"""SHA256SUMS: the digests that exports are shipped with, in the format that `sha256sum -c` checks.

ONNX Runtime, LiteRT and TensorFlow load a file with one flipped bit without a word, and predict something else.
"""

import os
import re
from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.core.files import write_text
from darkroom.core.folders import files_below
from darkroom.core.hashing import digest_lines, sha256

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def write(folder: Path) -> None:
    """Write SHA256SUMS over all files in a folder."""
    write_text(folder / SUMS, digest_lines(_files(folder), folder))


def verify(path: Path) -> bool:
    """Compare a file, or all files of a folder, with the SHA256SUMS beside it.

    Returns:
        Whether there is a SHA256SUMS, which then vouches for the path.

    Raises:
        UserError: SHA256SUMS does not list it, or lists something else.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - its folder is the one in which a link lies
    sums = path.parent / SUMS
    if not os.path.lexists(sums):
        return False
    try:
        lines = sums.read_text(encoding="utf-8").splitlines() if sums.is_file() else []
    except (OSError, UnicodeDecodeError):
        lines = []
    listed = {match[2]: match[1] for line in lines if (match := _LINE.fullmatch(line))}
    expected = {name for name in listed if Path(name).parts[0] == path.name}
    given = {file.relative_to(path.parent).as_posix(): file for file in ([path] if path.is_file() else _files(path))}
    for name in sorted(expected | set(given)):
        if name not in listed:
            problem = "is not listed in it"
        elif name not in given:
            problem = "is missing"
        elif sha256(given[name]) != listed[name]:
            problem = "has other content"
        else:
            continue
        raise UserError(
            f"{_short(path)} does not match the {SUMS} beside it ({name} {problem}): it was changed or damaged after "
            f"the export. `dvc repro -f -s export` exports it again; fetch a copy from elsewhere again, as a whole."
        )
    return True


def _files(folder: Path) -> list[Path]:
    return [path for path in files_below(folder) if path.is_file()]


def _short(path: Path) -> Path:
    """The path as the user would write it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
