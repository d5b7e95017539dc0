"""Features into the cache, by this machine or by the processes of a cluster, which share the cache."""

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from darkroom.core import parallel, runtime
from darkroom.core.model_spec import BackboneSpec
from darkroom.core.row_cache import RowCache
from darkroom.core.terminal import progress
from darkroom.extract.forward import BATCH, features

CHUNK = 32 * BATCH  # pictures that a killed extraction loses at most
ON_CLUSTER = 4 * BATCH  # pictures that a process of a cluster takes together


class Pass(NamedTuple):
    """A forward pass, as another process can repeat it."""

    spec: BackboneSpec
    policy: str  # dtype policy
    weights: Path  # of the whole network
    seed: int


def extractor(forward: Pass) -> Any:
    """The feature extractor of a pass: pixels to a dictionary of features."""
    from darkroom.backbones import keras_apps

    spec, name = forward.spec, str(forward.spec.name)
    network = keras_apps.network(name, spec.size, forward.policy)
    network.load_weights(forward.weights)
    layers, pooling = list(spec.layers), str(spec.pooling)
    return keras_apps.feature_extractor(network, name, spec.size, layers, pooling, spec.mirror)


def fill(cache: RowCache, forward: Pass, pictures: Mapping[str, str], model: Any = None) -> None:
    """Add the features of pictures to the cache.

    Args:
        cache: of the pass.
        forward: the pass.
        pictures: their paths by their digests.
        model: the extractor of the pass, if there is one already.

    Raises:
        UserError: features exceed the range of float16.
    """
    if not pictures:
        return
    items = list(pictures.items())
    if cluster := parallel.cluster():
        threads = parallel.cores()  # rounding may depend on their number, so all machines use this one's
        chunks = [items[start : start + ON_CLUSTER] for start in range(0, len(items), ON_CLUSTER)]
        done = cluster.map(functools.partial(_fill_there, forward, cache.key, threads), chunks, 1, threads)
        for _ in progress(done, len(items), "extract", step=ON_CLUSTER):
            pass
        cache.missing(list(pictures))  # what the others added has its place from now on
    else:
        batches = features(model or extractor(forward), list(pictures.values()), forward.spec.size, forward.policy)
        _add(cache, list(pictures), progress(batches, len(items), "extract", step=BATCH))


def _fill_there(forward: Pass, key: dict[str, Any], threads: int, items: Sequence[tuple[str, str]]) -> None:
    """In a process of a cluster: add the features of some pictures to the cache."""
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)  # TensorFlow reads it when it computes for the first time
    batches = features(_extractor(forward), [path for _, path in items], forward.spec.size, forward.policy)
    _add(RowCache("features", key), [digest for digest, _ in items], batches)


@functools.lru_cache(1)
def _extractor(forward: Pass) -> Any:
    """In a process of a cluster: the extractor, built for the first pictures and kept."""
    runtime.prepare(forward.seed)
    return extractor(forward)


def _add(cache: RowCache, digests: Sequence[str], batches: Iterator[Mapping[str, np.ndarray]]) -> None:
    """Compute the features of pictures and add them to the cache, chunk by chunk."""
    for start in range(0, len(digests), CHUNK):
        chunk = list(islice(batches, CHUNK // BATCH))
        joined = {layer: np.concatenate([batch[layer] for batch in chunk]) for layer in chunk[0]}
        cache.add(digests[start : start + CHUNK], joined)
