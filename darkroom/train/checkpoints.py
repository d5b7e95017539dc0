"""Checkpoints: after each epoch, the state to resume from and the weights that may be kept.

They are in the cache, under a key of everything that changes the result. Files are written atomically, an epoch's
weights before the state that refers to them, so a process killed at any moment leaves the state of a complete epoch.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import PIL
import tensorflow as tf

from darkroom.core import runtime
from darkroom.core.files import whole_file
from darkroom.core.hashing import code_digest, sha256
from darkroom.core.parallel import cores
from darkroom.core.paths import cache
from darkroom.train.result import History

STATE = "state.npz"


def folder(settings: dict[str, Any], inputs: Iterable[Path]) -> Path:
    """The folder for the state of a training; code, library versions and devices are part of its key as well.

    Args:
        settings: everything else that changes the result.
        inputs: the files and folders that the training reads, by path and content.
    """
    files = sorted(path for entry in inputs for path in (entry, *entry.rglob("*")) if path.is_file())
    devices = [device.name for device in tf.config.list_logical_devices()]
    versions = [keras.__version__, tf.__version__, np.__version__, PIL.__version__]
    versions += [*devices, str(cores()), *sorted(runtime.cpu_flags())]
    content = [
        settings,
        versions,
        *([path.as_posix(), sha256(path)] for path in files),
        code_digest("train"),
    ]
    result = cache() / "training" / hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]
    result.mkdir(parents=True, exist_ok=True)
    return result


class Checkpoints:
    """The epochs of one training in a folder; an epoch's weights are all variables of its model, seeds included."""

    def __init__(self, folder: Path, keep_all: bool) -> None:
        self.folder, self.keep_all = folder, keep_all
        folder.mkdir(parents=True, exist_ok=True)
        for partial in folder.glob("*.partial"):
            partial.unlink()

    def restore(self, model: keras.Model) -> History:
        """Restore model and optimizer as they were after the last complete epoch, and return the history so far.

        Without a readable state, the history is empty and nothing is restored.
        """
        if not (self.folder / STATE).exists():
            return {}
        try:
            with np.load(self.folder / STATE) as file:
                arrays = {name: file[name] for name in file.files}
            for path in self.folder.glob("epoch-*.npz"):
                zipfile.ZipFile(path).close()
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            print(f"train: the state in {self.folder} cannot be read: training starts from the beginning", flush=True)
            return {}
        history: History = json.loads(str(arrays.pop("history")))
        _assign(model.variables, arrays, "model")
        if any(name.startswith("optimizer") for name in arrays):  # a finished training has none
            model.optimizer.build(model.trainable_variables)
            _assign(model.optimizer.variables, arrays, "optimizer")
        return history

    def save(self, model: keras.Model, history: History, best: int, finished: bool) -> None:
        """Save the state after an epoch, and the weights of the best epoch so far or of all."""
        last = len(history["loss"]) - 1
        weights = _arrays(model.variables, "model")
        if self.keep_all or best == last:
            _write(self._weights(last), weights)
        optimizer = {} if finished else _arrays(model.optimizer.variables, "optimizer")
        _write(self.folder / STATE, {"history": np.array(json.dumps(history)), **weights, **optimizer})
        if not self.keep_all:
            for path in self.folder.glob("epoch-*.npz"):
                if path != self._weights(best):
                    path.unlink()

    def load(self, model: keras.Model, epoch: int, last: int) -> None:
        """Give a model the weights of an epoch; epochs are counted from 0, and `last` is the number of the last one."""
        with np.load(self.folder / STATE if epoch == last else self._weights(epoch)) as file:
            _assign(model.variables, dict(file), "model")

    def _weights(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch + 1:04d}.npz"


def _arrays(variables: list[Any], name: str) -> dict[str, np.ndarray]:
    return {f"{name}-{number}": keras.ops.convert_to_numpy(variable) for number, variable in enumerate(variables)}


def _assign(variables: list[Any], arrays: dict[str, np.ndarray], name: str) -> None:
    for number, variable in enumerate(variables):
        variable.assign(arrays[f"{name}-{number}"])


def _write(target: Path, arrays: dict[str, np.ndarray]) -> None:
    with whole_file(target) as partial, partial.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
        stream.flush()
        os.fsync(stream.fileno())  # if the machine stops, no state must survive without the weights it refers to
