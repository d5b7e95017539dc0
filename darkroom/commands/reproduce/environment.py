"""What results depend on besides the commit and the data: packages, the kind of CPU, the number of threads."""

import hashlib
import os
import platform
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

from darkroom.core import precision
from darkroom.core.parallel import cores

PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
# By which threads and instruction sets are limited.
VARIABLES = (
    *("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    *("OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", *precision.LIMITS),
)


def describe() -> dict[str, Any]:
    """The environment of this process, as JSON."""
    info = precision.cpu_info()
    flags = " ".join(sorted(precision.cpu_flags()))
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": next(iter(info.get("model name", ())), platform.processor()),
        "instruction_sets": hashlib.sha256(flags.encode()).hexdigest()[:16],
        "threads": cores(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "packages": dict(sorted((_plain(item.name), item.version) for item in metadata.distributions())),
    }


def unpinned(environment: Mapping[str, Any], lock: str) -> Iterator[str]:
    """A sentence for each installed package whose version is not in a lock file, which is a text."""
    pinned: dict[str, list[str]] = {}  # a package may have a version for each version of Python
    for name, version in PINNED.findall(lock):
        pinned.setdefault(_plain(name), []).append(version)
    for name, versions in sorted(pinned.items()):
        installed = environment["packages"].get(name, versions[0])
        if installed not in versions:
            yield f"package {name}: {' or '.join(versions)} is pinned, {installed} is installed"


def changes(ours: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each difference between two environments."""
    for key in ours:
        if isinstance(ours[key], dict) and isinstance(other.get(key), dict):
            for name in sorted(ours[key].keys() | other[key].keys()):
                here, there = (content[key].get(name, "none") for content in (ours, other))
                if here != there:
                    yield f"{key} {name}: {there} there, {here} here"
        elif ours[key] != other.get(key):
            yield f"{key}: {other.get(key)} there, {ours[key]} here"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
