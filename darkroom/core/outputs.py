"""What to say of a file between stages that is missing or damaged: the stage that writes it, and how it is run."""

import os
from pathlib import Path

from darkroom.core.errors import UserError

PIPELINE = Path(__file__).parents[2] / "dvc.yaml"


def stage_of(path: Path) -> str | None:
    """The stage that writes a path, or the folder in which it lies; None for a path that is no output."""
    from darkroom.core.yaml import read_yaml

    name = Path(os.path.relpath(path)).as_posix()
    if not PIPELINE.is_file():  # the code was copied with a served model
        return None
    stages = read_yaml(PIPELINE)["stages"]
    for stage, entry in stages.items():
        for output in (*entry["outs"], *entry.get("metrics", ())):
            if name == output or name.startswith(f"{output}/"):
                return str(stage)
    return None


def missing(path: Path) -> UserError:
    """The error on an output that is not there."""
    stage = stage_of(path)
    command = f"dvc repro {stage}" if stage else "dvc repro"
    return UserError(f"{path} is missing: run `{command}`, which writes it.")


def damaged(path: Path, reason: str) -> UserError:
    """The error on an output that is not what its stage wrote; `-f`, as DVC may not have noticed the change."""
    stage = stage_of(path)
    remedy = f": run `dvc repro -f -s {stage}`, which writes it anew" if stage else ""
    return UserError(f"{path} is damaged or was changed ({reason}){remedy}.")


def read_text(path: Path) -> str:
    """Read a whole file in UTF-8.

    Raises:
        UserError: it is missing, no file, empty, or not UTF-8.
    """
    if not os.path.lexists(path):
        raise missing(path)
    if not path.is_file():
        raise damaged(path, "it is not a file")
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        raise damaged(path, "it is not UTF-8 text") from None
    if not text:
        raise damaged(path, "it is empty")
    return text
