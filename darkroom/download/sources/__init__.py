"""The sources of labelled pictures: each module here but `base` is one, named as in `download.source`.

To add a source, add a module with a function `read(params, scratch)` that returns a `base.Source`.
"""

import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.download.sources.base import Source
from darkroom.download.tracked import check_tracked

if TYPE_CHECKING:
    from darkroom.download.params import Params

NAMES = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")


def read(params: "Params", scratch: Path) -> Source:
    """Open the source `params.source`; its files are unchecked.

    Args:
        params: of the stage.
        scratch: an empty folder that lasts until the files have been read.

    Raises:
        UserError: the source is missing, unreadable, or holds no labelled pictures.
    """
    if params.source != "tfds" and not params.url:
        check_tracked(Path(params.path))
    source: Source = importlib.import_module(f"{__name__}.{params.source}").read(params, scratch)
    return source
