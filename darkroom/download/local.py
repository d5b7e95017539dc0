"""The local copy of a source's files: downloaded, verified and unpacked where necessary."""

from pathlib import Path

from darkroom.download import archives
from darkroom.download.http import fetch, verify
from darkroom.download.params import Params


def origin(params: Params) -> str:
    """The user's own name for the source, for messages."""
    return params.url or params.path


def local_path(params: Params, scratch: Path, unpacked: bool = False) -> Path:
    """`download.path`, or the file behind `download.url`; an archive is unpacked into `scratch`.

    Args:
        params: of the stage.
        scratch: an empty folder.
        unpacked: whether the file must be an archive.

    Raises:
        UserError: it cannot be downloaded, has another SHA-256, or is a damaged or unsafe archive.
    """
    path = fetch(params.url, params.sha256) if params.url else Path(params.path)
    if path.is_file() and not params.url:
        verify(path, params.sha256, str(path))
    if unpacked or archives.is_archive(path):
        limits = archives.Limits(int(params.unpacked_gb * 1e9), params.unpacked_files)
        return archives.unpack(path, scratch, limits)
    return path
