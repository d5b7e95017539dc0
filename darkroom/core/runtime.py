"""TensorFlow's set-up and the abilities of the machine, the same for every stage that uses tensors."""

import contextlib
import logging
import math
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from darkroom.core.errors import UserError
from darkroom.core.resources import require_memory
from darkroom.core.terminal import silent

# By default TensorFlow uses oneDNN only on CPUs with AVX-512; without it, a picture's features depend on its position
# in the batch. This must be set before anything imports TensorFlow.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Keras imports these if they are installed, for wrappers that Darkroom does not use: a quarter of the import's time.
UNUSED_BY_KERAS = ("matplotlib", "pandas", "sklearn")


def import_tensorflow() -> None:
    """Import TensorFlow without the messages that its libraries write to stderr before they can be configured.

    It then computes in float32 where it is told to.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" not in sys.modules:
        with silent(), _hidden(UNUSED_BY_KERAS):
            import tensorflow as tf

            tf.config.list_physical_devices()
    from tensorflow.config import experimental

    # On GPUs, float32 would round factors to TF32, with 10 bits: not what other machines compute with the same model.
    experimental.enable_tensor_float_32_execution(False)
    logging.getLogger("absl").setLevel(logging.ERROR)


@contextlib.contextmanager
def _hidden(names: Sequence[str]) -> Iterator[None]:
    """Let imports of these packages fail within the block, unless they are imported already."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def prepare(seed: int, log_devices: bool = False) -> None:
    """Make TensorFlow deterministic and let GPU memory grow as needed; to be called before any tensor exists.

    With `log_devices`, TensorFlow reports on stderr which device each operation runs on.
    """
    if log_devices:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
    import_tensorflow()
    import keras
    import tensorflow as tf

    tf.debugging.set_log_device_placement(log_devices)

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


@contextlib.contextmanager
def device_scope(strategy: str, device: str | None) -> Iterator[None]:
    """Build and train models within the block on all GPUs, on one device, or where TensorFlow puts them.

    Args:
        strategy: `mirrored` (all GPUs, or all logical CPUs if there are none), `auto` (mirrored if there are at least
            two GPUs) or `none`.
        device: such as `gpu:1`, which excludes `mirrored`; or None.

    Raises:
        UserError: this machine has no such device.
    """
    import tensorflow as tf

    devices = {kind: tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU")}
    if device:
        names = [item.name.removeprefix("/device:").lower() for kind in devices.values() for item in kind]
        if device not in names:
            raise UserError(f"train.device is {device}, but this machine has {', '.join(names)}.")
        scope: Any = tf.device(device)
    elif strategy == "mirrored" or (strategy == "auto" and len(devices["GPU"]) > 1):
        names = [item.name for item in devices["GPU"] or devices["CPU"]]
        print(f"train: mirrored on {', '.join(names)}", flush=True)
        scope = tf.distribute.MirroredStrategy(names).scope()
    else:
        scope = contextlib.nullcontext()
    with scope:
        yield


def require_memory_for(network: Any, batch: int, training: bool, what: str, remedy: str) -> None:
    """Check that a pass of a network over a batch fits into memory; a GPU's memory is TensorFlow's to judge.

    Args:
        network: a Keras model.
        batch: pictures.
        training: whether the outputs of all layers are kept, for the gradient.
        what: needs the memory.
        remedy: what to do instead.

    Raises:
        UserError: it does not.
    """
    import keras
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return
    outputs = [output for layer in network.layers for output in keras.tree.flatten(layer.output)]
    sizes = [math.prod(side or 1 for side in output.shape[1:]) for output in outputs]
    require_memory(4 * batch * (sum(sizes) if training else 2 * max(sizes)), what, remedy)
