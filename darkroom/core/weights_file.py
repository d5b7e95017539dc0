"""Files of a Keras model's weights, in HDF5."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

OVERHEAD = 4096  # bytes for each array, in HDF5


def save_weights(model: Any, target: Path) -> None:
    """Save a model's weights, if they fit on the disk: HDF5 would crash the process on a full one, even at its exit.

    Raises:
        OSError: they do not.
    """
    arrays = model.weights
    needed = sum(variable.value.numpy().nbytes for variable in arrays) + OVERHEAD * (16 + len(arrays))
    if needed > shutil.disk_usage(target.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
    model.save_weights(target)
