"""The forward pass of a frozen backbone over picture files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.errors import UserError
from darkroom.images.decode import decode

BATCH = 32  # one fixed shape for every forward pass, so that a picture's features do not depend on its neighbours


def features(model: Any, paths: list[Path], size: tuple[int, int], precision: str) -> Iterator[dict[str, np.ndarray]]:
    """Features of the pictures, batch by batch: layer name to an array of shape (batch, n).

    Features of a reduced-precision pass are float16, which holds every bfloat16 value of this size.

    Args:
        model: pixels to a dictionary of features (see `keras_apps.body`).
        paths: picture files.
        size: height and width to which they are resized.
        precision: the dtype policy of the model.

    Raises:
        UserError: features too large for float16.
    """
    import tensorflow as tf

    from darkroom.backbones.keras_apps import Resize

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
        arrays = {layer: output.numpy()[:count].astype(dtype) for layer, output in outputs.items()}
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise UserError("features are too large for float16: set extract.precision to float32.")
        yield arrays
