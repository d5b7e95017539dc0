"""dvc.lock after a kill: DVC writes it in place, and refuses to start while it is cut off."""

import subprocess
from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.core.files import write_text
from darkroom.core.params import read_yaml

LOCK = Path("dvc.lock")


def restore() -> None:
    """Put back the dvc.lock of the last commit, or none, if a killed DVC left one that it cannot read; say so.

    Nothing is computed again for it: DVC finds the stages that ran since in its cache of runs.
    """
    if not LOCK.exists() or _is_valid(LOCK):
        return
    shown = subprocess.run(("git", "show", f"HEAD:./{LOCK}"), check=False, capture_output=True, text=True)
    if shown.returncode == 0:
        write_text(LOCK, shown.stdout)
        remedy = "the one of the last commit is put back"
    else:
        LOCK.unlink()
        remedy = "it is deleted, and DVC writes it anew"
    print(f"{LOCK} was cut off when DVC was killed: {remedy}.", flush=True)


def _is_valid(path: Path) -> bool:
    """Whether DVC would accept a dvc.lock."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(read_yaml(path))
    except (UserError, Invalid):
        return False
    return True
