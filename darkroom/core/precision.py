"""The dtype policy of a network: `auto` is the fastest one that this machine computes."""

import functools
import os
from pathlib import Path
from typing import NamedTuple

from darkroom.core.errors import UserError
from darkroom.core.params import Precision

EXACT = "float32"
CPU_INFO = Path("/proc/cpuinfo")
# oneDNN, with which TensorFlow computes on CPUs, can be kept from using what a CPU has.
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
BELOW_AVX512 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2")


class Choice(NamedTuple):
    """A dtype policy of Keras, and the reason for it."""

    policy: str
    reason: str

    def report(self) -> dict[str, str]:
        """The entries of a stage's report."""
        return {"precision": self.policy, "precision_reason": self.reason}


def choose(setting: Precision) -> Choice:
    """Return the dtype policy of a setting.

    On GPUs, `auto` is mixed_float16 from compute capability 7 on; for CPUs see `for_cpu`.

    Raises:
        UserError: oneDNN is kept from computing it.
    """
    name = next((name for name in LIMITS if name in os.environ), "")
    limit = os.environ.get(name, "").upper()
    if setting != "auto":
        # TensorFlow asks the CPU and hands the work to oneDNN, which then refuses.
        if setting == "mixed_bfloat16" and limit in BELOW_AVX512 and "avx512f" in cpu_flags():
            raise UserError(f"precision {setting} does not work with {name}={limit}: unset it, or use float32.")
        return Choice(setting, "set in params.yaml")
    import tensorflow as tf

    if gpus := tf.config.list_physical_devices("GPU"):
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        policy = "mixed_float16" if capability >= (7, 0) else EXACT
        return Choice(policy, f"a GPU with compute capability {'.'.join(map(str, capability))}")
    info = cpu_info()
    return for_cpu(next(iter(info.get("vendor_id", ())), ""), cpu_flags(), limit)


def for_cpu(vendor: str, flags: frozenset[str], limit: str = "") -> Choice:
    """Return the faster of float32 and mixed_bfloat16 on a kind of CPU.

    AMX multiplies matrices of bfloat16. Without it, AVX512-BF16 is twice as fast as float32 on AMD's CPUs, whose units
    for both are of the same width, but slower on Intel's, which have one for bfloat16 and two for float32; networks on
    pictures of 224x224 took three times as long there (`python -m benchmarks.precision`).

    Args:
        vendor: as the CPU names it, such as GenuineIntel.
        flags: its instruction sets, as Linux lists them.
        limit: the value of ONEDNN_MAX_CPU_ISA, or an empty string.
    """
    limit = limit.upper()
    unlimited = limit in ("", "ALL", "DEFAULT") or limit.startswith("AVX10")
    if "amx_bf16" in flags and (unlimited or "AMX" in limit):
        return Choice("mixed_bfloat16", "a CPU with AMX")
    if "avx512_bf16" in flags and (unlimited or any(word in limit for word in ("AMX", "BF16", "FP16"))):
        if vendor == "AuthenticAMD":
            return Choice("mixed_bfloat16", "an AMD CPU with AVX512-BF16")
        return Choice(EXACT, "a CPU with AVX512-BF16 but without AMX, where bfloat16 would be slower")
    return Choice(EXACT, "a CPU without bfloat16" if unlimited else f"ONEDNN_MAX_CPU_ISA is {limit}")


def cpu_flags() -> frozenset[str]:
    """Return the instruction sets of the CPU as Linux lists them; nothing on other systems."""
    return frozenset(flag for line in cpu_info().get("flags", ()) for flag in line.split())


def kind_of_cpu() -> str:
    """The instruction sets that TensorFlow may use, in one line: they decide how it computes, and so how it rounds."""
    return " ".join([*sorted(cpu_flags()), *(f"{name}={os.environ[name]}" for name in LIMITS if name in os.environ)])


@functools.cache
def cpu_info() -> dict[str, list[str]]:
    """The values of /proc/cpuinfo, one for each core; nothing on systems without it."""
    values: dict[str, list[str]] = {}
    for line in CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else ():
        key, _, value = line.partition(":")
        values.setdefault(key.strip(), []).append(value.strip())
    return values
