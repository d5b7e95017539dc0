"""Check params.yaml, and that DVC can run and hash the pictures.

What would stop DVC with an error that names no remedy is named here with it, such as a name that is not UTF-8, or a
folder in no git repository. Locks and files of DVC's own that a killed process left, or that are damaged, are cleared.

Reads   params.yaml, the names of the files in download.path and data/incoming
Writes  .dvc/tmp, if something has to be cleared there
"""

from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.core.paths import INCOMING
from darkroom.download.tracked import check_hashable, check_tracked
from darkroom.pipeline import dvc_state, params


def main() -> None:
    """Check and repair; silent if all is well."""
    dvc_state.repair()
    path = Path(params.current().download.path)
    if not path.exists():
        raise UserError(f"download.path {path} does not exist: put pictures there, or change it in params.yaml.")
    for folder in dict.fromkeys((path, INCOMING)):
        check_hashable(folder)
        check_tracked(folder)
