"""What a file is, by its content and its name."""

import re
import zipfile
from pathlib import Path, PurePosixPath

from darkroom.download.archives import refusals, seven_zip, tars

ENDING = re.compile(rf"(?:\.(?:{refusals.ENDINGS}|gz|bz2|xz|zst|cab|iso|lzh|lha|z|xar|ar|arj|ace|alz|egg|cpio))+", re.I)
WHOLE = re.compile(rf".+\.(?:{refusals.ENDINGS}|cab|iso|lzh|lha|xar|arj|ace|alz|egg|cpio)", re.I)


def kind(path: Path) -> str | None:
    """`7z`, `tar` or `zip`; None for any other file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        start = stream.read(8)
    if start.startswith(seven_zip.MAGIC):
        return "7z"
    if tars.is_tar(path):  # before zip, since a tar may end with one
        return "tar"
    try:
        return "zip" if zipfile.is_zipfile(path) else None
    except zipfile.BadZipFile:  # as the last part of a large one
        return "zip"


def is_archive(path: Path) -> bool:
    """Whether a path is a file that is an archive, if perhaps one that cannot be unpacked, or should be by its name."""
    return path.is_file() and bool(
        WHOLE.fullmatch(path.name) or refusals.part(path.name) or kind(path) or refusals.unsupported_kind(path)
    )


def is_archive_among_files(path: Path) -> bool:
    """Whether a file in an archive is one too; documents are not, though many of them are zip archives inside."""
    named = not path.suffix or ENDING.fullmatch(path.suffix) or refusals.part(path.name)
    return bool(named) and is_archive(path)


def stem(name: str) -> str:
    """The name of an archive without its ending, for the folder that it is unpacked into."""
    whole = PurePosixPath(name).name
    return re.sub(rf"{ENDING.pattern}$", "", whole, flags=re.I).strip(" .") or whole
