"""The forward pass of a frozen backbone over picture files."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core import runtime
from darkroom.core.errors import UserError
from darkroom.core.paths import FEATURES
from darkroom.core.resources import require_space
from darkroom.extract.params import Params
from darkroom.images.decode import decode

BATCH = 32  # one fixed shape for every forward pass, so that a picture's features do not depend on its neighbours
LARGEST = 1024  # pictures in a batch on a GPU


def features(
    model: Any, paths: Sequence[str | Path], size: tuple[int, int], precision: str
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the features of pictures, `BATCH` at a time: layer name to an array (batch, n).

    Features of a reduced-precision pass are float16, which can represent bfloat16 values of this magnitude.

    Args:
        model: pixels to a dictionary of features (see `keras_apps.feature_extractor`).
        paths: picture files.
        size: height and width to which they are resized.
        precision: dtype policy of the model.

    Raises:
        UserError: features exceed the range of float16.
    """
    import tensorflow as tf

    from darkroom.backbones.keras_apps import Resize

    resize = Resize(size)
    dtype = np.float32 if precision == "float32" else np.float16

    def load(path: Any) -> Any:
        pixels = tf.numpy_function(lambda name: decode(Path(name.decode())), [path], tf.uint8)
        pixels.set_shape((None, None, 3))
        return resize(pixels[None])[0]

    if not paths:
        return
    forward = tf.function(lambda images: model(images, training=False))
    full = BATCH
    if gpus := tf.config.list_logical_devices("GPU"):
        full = largest_batch(lambda count: forward(tf.zeros((count, *size, 3))))
    data = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    data = data.map(load, tf.data.AUTOTUNE, deterministic=True).batch(full)
    ahead = tf.data.experimental.prefetch_to_device(gpus[0].name, 2) if gpus else lambda batches: batches.prefetch(2)
    for batch in data.apply(ahead):
        count = len(batch)
        outputs = forward(tf.pad(batch, [[0, full - count], [0, 0], [0, 0], [0, 0]]))
        arrays = {layer: output.numpy()[:count].astype(dtype) for layer, output in outputs.items()}
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise UserError("the features exceed the range of float16: set extract.precision to float32.")
        for start in range(0, count, BATCH):
            yield {layer: array[start : start + BATCH] for layer, array in arrays.items()}


def largest_batch(run: Callable[[int], object]) -> int:
    """The largest batch that fits into a GPU's memory, by trying: `LARGEST`, halved until it does. Not measured.

    Args:
        run: a pass of so many pictures.
    """
    from tensorflow.errors import ResourceExhaustedError

    count = LARGEST
    while count > BATCH:
        try:
            run(count)
            break
        except ResourceExhaustedError:
            count //= 2
    return count


def require_room(backbone: Any, params: Params, missing: int, rows: int, count: int) -> None:
    """Check that the forward pass fits into memory, and what it gives onto the disk.

    Args:
        backbone: the network.
        params: section `extract`.
        missing: pictures that go through the network.
        rows: of the features of all splits.
        count: features of a picture.

    Raises:
        UserError: one does not fit.
    """
    if missing:
        name = f"extract.image_size {params.image_size} with {params.backbone}"
        runtime.require_memory_for(backbone, BATCH, False, name, "choose a smaller one")
    needed = 2 * count * (missing + rows)  # a feature has two bytes or more, and is in the cache, too
    remedy = "set extract.pooling to avg, choose a smaller extract.image_size, or free some"
    require_space(FEATURES, needed, f"extract: {count:,} features for each of {rows:,} pictures", remedy)
