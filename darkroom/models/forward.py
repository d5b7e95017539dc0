"""The forward pass of a model over all rows of a split, a chunk of them in memory at a time."""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from darkroom.models.inputs import Inputs

ROWS = 512  # of a chunk at most, …
VALUES = 2**22  # … which has about this many numbers at most


def run(model: keras.Model, inputs: Inputs, call: Callable[[Any], Any] | None = None) -> np.ndarray:
    """A model's outputs in inference mode, float32 (rows, n).

    Args:
        model: rows to (batch, n).
        inputs: the rows.
        call: replaces the call of the model, for example by a compiled function.
    """
    call = call or functools.partial(model, training=False)
    result = np.empty((len(inputs), *model.output_shape[1:]), np.float32)
    for rows in chunks(len(inputs), model.input_shape):
        result[rows] = keras.ops.convert_to_numpy(call(inputs.rows(rows)))
    return result


def chunks(count: int, shape: tuple[int, ...]) -> list[slice]:
    """Slices of `count` rows, each of shape `shape[1:]`, that fit into memory."""
    size = max(16, min(ROWS, VALUES // math.prod(shape[1:])))
    return [slice(start, start + size) for start in range(0, count, size)]
