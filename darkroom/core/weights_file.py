"""Files of a Keras model's weights, in HDF5."""

from pathlib import Path
from typing import Any

from darkroom.core.resources import require_space

OVERHEAD = 4096  # bytes for each array, in HDF5


def save_weights(model: Any, target: Path) -> None:
    """Save a model's weights, if they fit on the disk: HDF5 would crash the process on a full one, even at its exit.

    Raises:
        UserError: they do not.
    """
    arrays = model.weights
    needed = sum(variable.value.numpy().nbytes for variable in arrays) + OVERHEAD * (16 + len(arrays))
    require_space(target.parent, needed, target.name, "free some, or use a larger disk")
    model.save_weights(target)
