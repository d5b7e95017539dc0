"""Export formats, one file each: importing this package registers every format that has a file in this folder."""

import importlib
import pkgutil

from darkroom.inference.formats.base import FORMATS, TRUST, Exported, Format, UntrustedError, load, locate, quickest

__all__ = ["FORMATS", "TRUST", "Exported", "Format", "UntrustedError", "load", "locate", "quickest"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
