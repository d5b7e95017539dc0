"""What the machine can do, and how TensorFlow is set up on it: the same for every stage that uses tensors."""

import contextlib
import functools
import gc
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from darkroom.core.errors import UserError
from darkroom.core.params import Precision
from darkroom.core.terminal import silent

# By itself TensorFlow takes oneDNN only on CPUs with AVX-512, and without it a picture's features depend on its place
# in the batch. Here, since it must stand before anything imports TensorFlow.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def import_tensorflow() -> None:
    """Import it without the notes that its libraries write straight to stderr before they can be told not to."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" not in sys.modules:
        gc.disable()  # a fifth of the time: nothing that an import makes is garbage, and it is looked through often
        with silent():
            import tensorflow as tf

            tf.config.list_physical_devices()
        gc.freeze()
        gc.enable()
    logging.getLogger("absl").setLevel(logging.ERROR)


def prepare(seed: int, log_devices: bool = False) -> None:
    """Make TensorFlow repeatable and let it take GPU memory as it needs it. Call it before any tensor is made.

    With `log_devices` TensorFlow says on stderr which device each operation runs on.
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
def placed(strategy: str, device: str | None) -> Iterator[None]:
    """Models made and trained inside run on all GPUs (MirroredStrategy; on all logical CPUs where there is none), or on
    one device, or as TensorFlow has it.

    Args:
        strategy: `mirrored`; `auto`, which is mirrored where there are two GPUs or more; or `none`.
        device: such as `gpu:1`, or None; then strategy must not be mirrored.

    Raises:
        UserError: there is no such device.
    """
    import tensorflow as tf

    devices = {kind: tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU")}
    if device:
        known = [one.name.removeprefix("/device:").lower() for both in devices.values() for one in both]
        if device not in known:
            raise UserError(f"train.device is {device}, but this machine has {', '.join(known)}.")
        scope: Any = tf.device(device)
    elif strategy == "mirrored" or (strategy == "auto" and len(devices["GPU"]) > 1):
        names = [one.name for one in devices["GPU"] or devices["CPU"]]
        print(f"train: mirrored on {', '.join(names)}", flush=True)
        scope = tf.distribute.MirroredStrategy(names).scope()
    else:
        scope = contextlib.nullcontext()
    with scope:
        yield


def precision(wanted: Precision) -> str:
    """The dtype policy: what was asked for, or with `auto` the fastest that the machine has.

    That is mixed_float16 on GPUs with compute capability 7 or more, mixed_bfloat16 on CPUs with AVX512-BF16 or AMX,
    else float32.
    """
    if wanted != "auto":
        return wanted
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return "mixed_float16" if capability >= (7, 0) else "float32"
    return "mixed_bfloat16" if {"avx512_bf16", "amx_bf16"} & cpu_flags() else "float32"


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Instruction sets of the CPU, as Linux lists them; empty elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return frozenset()
    return frozenset(
        flag for line in cpuinfo.read_text().splitlines() if line.startswith("flags") for flag in line.split()
    )
