"""Checkpoints: after each epoch, the state to resume from and the weights that may be kept.

They are in the cache, under a key of everything that changes the result. Files are written atomically, an epoch's
weights before the state that refers to them, so a process killed at any moment leaves the state of a complete epoch.
The states of the last two epochs are kept: if a file is damaged, training resumes after the last epoch that is intact.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import PIL
import tensorflow as tf

from darkroom.core import precision, sealed
from darkroom.core.folders import files_below
from darkroom.core.hashing import code_digest, sha256
from darkroom.core.parallel import cores
from darkroom.core.partial_files import remove, remove_abandoned
from darkroom.core.paths import cache
from darkroom.train.history import best_epoch
from darkroom.train.result import History

STATE, EPOCH = "state-", "epoch-"  # what names begin with; then the number of the epoch, counted from 1
STATES = 2  # that are kept


def folder(settings: dict[str, Any], inputs: Iterable[Path]) -> Path:
    """The folder for the state of a training; code, library versions and devices are part of its key as well.

    Args:
        settings: everything else that changes the result.
        inputs: the files and folders that the training reads, by path and content.
    """
    # Names, one digest at a time: there may be hundreds of thousands of pictures.
    files = sorted(
        str(path) for entry in inputs for path in (files_below(entry) if entry.is_dir() else (entry,)) if path.is_file()
    )
    devices = [device.name for device in tf.config.list_logical_devices()]
    versions = [keras.__version__, tf.__version__, np.__version__, PIL.__version__]
    versions += [*devices, str(cores()), *sorted(precision.cpu_flags())]
    content = [settings, versions, code_digest("train")]
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in files:
        key.update(json.dumps([name, sha256(Path(name))]).encode())
    result = cache() / "training" / key.hexdigest()[:24]
    result.mkdir(parents=True, exist_ok=True)
    return result


class Checkpoints:
    """The epochs of one training in a folder; an epoch's weights are all variables of its model, seeds included."""

    def __init__(self, folder: Path, keep_all: bool) -> None:
        self.folder, self.keep_all = folder, keep_all
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)

    def restore(self, model: keras.Model) -> History:
        """Restore model and optimizer as they were after the last epoch that is intact; return the history so far.

        Without an intact state, the history is empty and nothing is restored.
        """
        damaged = [path for path in self.folder.glob("*.npz") if not sealed.is_intact(path)]
        for path in damaged:
            remove(path)
        histories = {number: self._history(number) for number in self._numbers(STATE)}
        epochs = self._numbers(EPOCH)
        complete = [number for number, history in histories.items() if epochs.issuperset(self._needed(history))]
        number = max(complete, default=0)
        for path in self.folder.glob("*.npz"):
            if _number(path) > number:  # these epochs are trained again
                remove(path)
        if damaged:
            then = f"resumes after epoch {number}" if number else "starts from the beginning"
            print(f"train: {damaged[0]} is damaged: training {then}", flush=True)
        if not number:
            return {}
        with np.load(self._path(STATE, number)) as file:
            arrays = dict(file)
        _assign(model.variables, arrays, "model")
        if any(name.startswith("optimizer") for name in arrays):  # a finished training has none
            model.optimizer.build(model.trainable_variables)
            _assign(model.optimizer.variables, arrays, "optimizer")
        return histories[number]

    def save(self, model: keras.Model, history: History, finished: bool) -> None:
        """Save the state after an epoch, and the weights of the best epoch so far or of all."""
        last = len(history["loss"])
        weights = _arrays(model.variables, "model")
        if last in self._needed(history):
            sealed.write(self.folder, f"{EPOCH}{last:04d}", weights)
        optimizer = {} if finished else _arrays(model.optimizer.variables, "optimizer")
        sealed.write(
            self.folder, f"{STATE}{last:04d}", {"history": np.array(json.dumps(history)), **weights, **optimizer}
        )
        kept = range(max(1, last - STATES + 1), last + 1)
        needed = {number for end in kept for number in self._needed({name: row[:end] for name, row in history.items()})}
        for name, numbers in ((STATE, set(kept)), (EPOCH, needed)):
            for path in self.folder.glob(f"{name}*.npz"):
                if _number(path) not in numbers:
                    remove(path)

    def load(self, model: keras.Model, epoch: int, last: int) -> None:
        """Give a model the weights of an epoch; epochs are counted from 0, and `last` is the number of the last one."""
        name = STATE if epoch == last else EPOCH
        with np.load(self._path(name, epoch + 1)) as file:
            _assign(model.variables, dict(file), "model")

    def _needed(self, history: History) -> list[int]:
        """The epochs whose weights belong to a state with this history."""
        return [*range(1, len(history["loss"]) + 1)] if self.keep_all else [best_epoch(history) + 1]

    def _history(self, number: int) -> History:
        with np.load(self._path(STATE, number)) as file:
            history: History = json.loads(str(file["history"]))
        return history

    def _numbers(self, name: str) -> set[int]:
        return {_number(path) for path in self.folder.glob(f"{name}*.npz")}

    def _path(self, name: str, number: int) -> Path:
        return next(self.folder.glob(f"{name}{number:04d}.*.npz"))


def _number(path: Path) -> int:
    """The epoch that a file belongs to."""
    return int(sealed.stem(path).rpartition("-")[2])


def _arrays(variables: list[Any], name: str) -> dict[str, np.ndarray]:
    return {f"{name}-{number}": keras.ops.convert_to_numpy(variable) for number, variable in enumerate(variables)}


def _assign(variables: list[Any], arrays: dict[str, np.ndarray], name: str) -> None:
    for number, variable in enumerate(variables):
        variable.assign(arrays[f"{name}-{number}"])
