"""The local copy of a source's files: downloaded, verified and unpacked where necessary."""

from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.download.archives.kinds import is_archive, is_archive_among_files
from darkroom.download.archives.members import Limits
from darkroom.download.archives.refusals import WrongFileError
from darkroom.download.archives.unpack import unpack, unpack_all, visible_files
from darkroom.download.http import fetch, verify
from darkroom.download.params import Params


def local_path(params: Params, scratch: Path, unpacked: bool = False) -> Path:
    """`download.path`, or the file behind `download.url`; archives are unpacked into `scratch`.

    An archive is that file, or all files of the folder `download.path` where it holds nothing else.

    Args:
        params: of the stage.
        scratch: an empty folder.
        unpacked: whether there must be an archive.

    Raises:
        UserError: it cannot be downloaded, has another SHA-256, or is a damaged or unsafe archive.
    """
    path = fetch(params.url, params.sha256) if params.url else Path(params.path)
    limits = Limits(int(params.unpacked_gb * 1e9), params.unpacked_files)
    if path.is_dir():
        if archives := _archives_alone(path):
            return unpack_all(archives, path, scratch, limits)
        if unpacked:
            raise UserError(f"{path} is a folder, not an archive: set download.source to folder.")
    if path.is_file() and not params.url:
        verify(path, params.sha256, str(path))
    if not (unpacked or is_archive(path)):
        return path
    try:
        return unpack(path, scratch, limits, origin(params))
    except WrongFileError:
        if params.url and not params.sha256:
            path.unlink()  # the next run is to download it again, not to find it in the cache
        raise


def origin(params: Params) -> str:
    """Return what the user calls the source: `download.url`, or else `download.path`."""
    return params.url or params.path


def _archives_alone(folder: Path) -> list[Path]:
    """The archives in a folder without other files; empty if there are others."""
    archives = []
    for path in visible_files(folder):
        if not is_archive_among_files(path):
            return []
        archives.append(path)
    return sorted(archives)
