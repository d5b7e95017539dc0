"""Run every picture once through a frozen, pretrained network and keep what its named layers say.

Reads   data/split, data/augmented, data/weights
Writes  data/features/: {train,val,test}.csv (sha256, path, label of each row), {train,val,test}.<layer>.npy,
        backbone.weights.h5 (the whole network's); reports/extract.json
Params  base.seed, extract
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from stages.common import hardware
from stages.common.errors import StageError
from stages.common.files import arrays_sha256, sha256, whole_folder, write_csv, write_json
from stages.common.models.feature_cache import FeatureCache
from stages.common.params import Base, Pooling, Section
from stages.common.paths import EXTRACT_REPORT, FEATURES
from stages.common.pictures import PARTS, decode, listed
from stages.common.progress import progress
from stages.common.stage import run

BATCH = 32  # one fixed shape for every forward pass, so that a picture's features do not depend on its neighbours
CHUNK = 32 * BATCH  # pictures that a killed extraction can lose


class Params(Section):
    """Section `extract` of params.yaml."""

    backbone: str | None = Field(min_length=1)
    weights: str = Field(min_length=1)
    image_size: list[Annotated[int, Field(ge=1)]] = Field(min_length=2, max_length=2)
    layers: list[str] = Field(min_length=1)
    pooling: Pooling
    precision: hardware.Precision


def main(base: Base, params: Params) -> None:
    """Extract what the cache does not have, and write it in canonical order."""
    with whole_folder(FEATURES) as folder:
        (folder / ".keep").touch()  # DVC would warn of an empty output at every step
        report = extract(params, base.seed, folder) if params.backbone else {"backbone": None}
    write_json(EXTRACT_REPORT, report)
    print(f"extract: {report.get('features', 0)} features a picture in {FEATURES}")


def extract(params: Params, seed: int, folder: Path) -> dict[str, Any]:
    """Write the features of all splits to `folder` and return what was done to get them.

    Features of a reduced-precision pass are stored as float16, which holds every bfloat16 value of this size.

    Raises:
        StageError: unknown network or layer, weights out of reach, or features too large for float16.
    """
    hardware.prepare(seed)
    import keras
    import tensorflow as tf

    from stages.common import pictures
    from stages.common.models import backbone, weights

    precision = hardware.precision(params.precision)
    name, size = str(params.backbone), (params.image_size[0], params.image_size[1])
    network = backbone.network(name, size, precision)
    model = backbone.body(network, name, size, params.layers, params.pooling)
    weights.fill(network, name, params.weights)
    report = {
        "backbone": name,
        "weights": params.weights,
        "weights_sha256": arrays_sha256(model.get_weights()),
        "image_size": params.image_size,
        "layers": params.layers,
        "pooling": params.pooling,
        "precision": precision,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }
    code = [sha256(Path(str(module))) for module in (__file__, backbone.__file__, pictures.__file__)]
    cache = FeatureCache({**report, "code": code})
    rows = {part: [(sha256(path), path, label) for path, label in listed(part)] for part in PARTS}
    paths = {digest: path for part in PARTS for digest, path, _ in rows[part]}
    todo = cache.missing([digest for part in PARTS for digest, _, _ in rows[part]])
    done = progress(
        compute(model, [paths[digest] for digest in todo], size, precision), len(todo), "extract", each=BATCH
    )
    for start in range(0, len(todo), CHUNK):
        batches = list(islice(done, CHUNK // BATCH))
        joined = {layer: np.concatenate([batch[layer] for batch in batches]) for layer in params.layers}
        cache.add(todo[start : start + CHUNK], joined)
    for part in PARTS:
        write_csv(folder / f"{part}.csv", ("sha256", "path", "label"), rows[part])
        for layer in params.layers:
            cache.write([digest for digest, _, _ in rows[part]], layer, folder / f"{part}.{layer}.npy")
    network.save_weights(folder / "backbone.weights.h5")
    return {**report, "features": sum(int(model.output[layer].shape[1]) for layer in params.layers)}


def compute(model: Any, paths: list[Path], size: tuple[int, int], precision: str) -> Iterator[dict[str, np.ndarray]]:
    """Features of the pictures, batch by batch: layer name to an array of shape (batch, n)."""
    import tensorflow as tf

    from stages.common.models.backbone import Resize

    resize = Resize(size)
    dtype = np.float32 if precision == "float32" else np.float16

    def load(path: Any) -> Any:
        pixels = tf.numpy_function(lambda name: decode(Path(name.decode())), [path], tf.uint8)
        pixels.set_shape((None, None, 3))
        return resize(pixels[None])[0]

    data = tf.data.Dataset.from_tensor_slices([str(path) for path in paths]) if paths else None
    if data is None:
        return
    forward = tf.function(lambda images: model(images, training=False))
    for batch in data.map(load, tf.data.AUTOTUNE, deterministic=True).batch(BATCH).prefetch(2):
        count = len(batch)
        outputs = forward(tf.pad(batch, [[0, BATCH - count], [0, 0], [0, 0], [0, 0]]))
        features = {layer: output.numpy()[:count].astype(dtype) for layer, output in outputs.items()}
        if not all(np.isfinite(array).all() for array in features.values()):
            raise StageError("features are too large for float16: set extract.precision to float32.")
        yield features


if __name__ == "__main__":
    run("extract", main)
