"""Source `archive`: a zip, 7z or tar archive of class folders."""

from pathlib import Path

from darkroom.download.local import local_path
from darkroom.download.params import Params
from darkroom.download.sources.base import Source
from darkroom.download.sources.folder import labelled_files


def read(params: Params, scratch: Path) -> Source:
    """Files of the archive `download.path` or `download.url`, unpacked into `scratch`."""
    return labelled_files(local_path(params, scratch, unpacked=True), params)
