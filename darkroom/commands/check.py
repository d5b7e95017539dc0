"""Check params.yaml, and that DVC can hash the pictures.

What would stop DVC with an error that names no file, such as a name that is not UTF-8, is named here with the remedy.

Reads   params.yaml, the names of the files in download.path and download.pictures
"""

from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.download.tracked import check_hashable, check_tracked
from darkroom.pipeline import params


def main() -> None:
    """Check; silent if all is well."""
    download = params.current().download
    for key, path in (("path", download.path), ("pictures", download.pictures)):
        if not Path(path).exists():
            raise UserError(f"download.{key} {path} does not exist: put pictures there, or change it in params.yaml.")
        check_hashable(Path(path))
        check_tracked(Path(path))
