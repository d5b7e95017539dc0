"""The types of heads, one file each: layers, fit, keys of `train.head`, range in sweeps, gate of an export.

A head is Keras layers from prepared features to logits, whatever fitted it, so that all types are saved, exported and
used alike. A new file in this folder adds a type.
"""

import functools
import importlib
import pkgutil

from darkroom.models.heads.base import REGISTRY, Head

KERAS = ("layers",)  # imported only where a model is built


@functools.cache
def registered() -> dict[str, Head]:
    """Every type by its name, in the order of listings. Imports neither Keras nor scikit-learn."""
    for module in pkgutil.iter_modules(__path__):
        if module.name not in KERAS:
            importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(REGISTRY.items(), key=lambda item: item[1].position))


def counts_votes(name: str) -> bool:
    """Whether a type of head counts votes, see `Head.counts_votes`; no network does."""
    return name in registered() and registered()[name].counts_votes
