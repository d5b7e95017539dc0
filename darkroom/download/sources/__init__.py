"""The sources of labelled pictures: each module here but `base` is one, named as in `download.source`.

To add a source, add a module with a function `read(params, scratch)` that yields `base.SourceFile`.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.download.sources.base import SourceFile

if TYPE_CHECKING:
    from darkroom.download.params import Params

NAMES = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")


def read(params: "Params", scratch: Path) -> Iterator[SourceFile]:
    """All files of the source `params.source`, unchecked.

    Args:
        params: of the stage.
        scratch: an empty folder that lasts until the files have been read.

    Raises:
        UserError: the source is missing, unreadable, or holds no labelled pictures.
    """
    source = importlib.import_module(f"{__name__}.{params.source}")
    files: Iterator[SourceFile] = source.read(params, scratch)
    return files
