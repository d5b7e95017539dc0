"""Settings of small trainings."""

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

from darkroom.train.params import Descent


def session(seed: int = 1, log: Any = lambda *_: None) -> Any:
    """What a training needs besides data, with a state folder of its own, which no other training finds."""
    from darkroom.train.loop import Session

    folder = tempfile.mkdtemp(prefix="darkroom-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Session(seed, Path(folder), log)


def descent(**changes: Any) -> Descent:
    """Settings of gradient descent."""
    small = {"epochs": 4, "patience": 5, "batch_size": 32, "learning_rate": 0.001, "precision": "float32"}
    return Descent(**{**small, **changes})
