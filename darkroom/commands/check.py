"""Check params.yaml, and that DVC can hash the pictures.

What would stop DVC with an error that names no file, such as a name that is not UTF-8, is named here with the remedy. A
dvc.lock that a kill has cut off is put back.

Reads   params.yaml, dvc.lock, the names of the files in download.path and data/incoming
"""

from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.core.paths import INCOMING
from darkroom.download.tracked import check_hashable, check_tracked
from darkroom.pipeline import lock_file, params


def main() -> None:
    """Check; silent if all is well."""
    lock_file.restore()
    path = Path(params.current().download.path)
    if not path.exists():
        raise UserError(f"download.path {path} does not exist: put pictures there, or change it in params.yaml.")
    for folder in dict.fromkeys((path, INCOMING)):
        check_hashable(folder)
        check_tracked(folder)
