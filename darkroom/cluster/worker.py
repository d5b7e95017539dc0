"""What a process of the cluster does with a chunk. It is sent there as code, since it may not see the project.

So it imports nothing of Darkroom before it has found it, and tells what is wrong without its exceptions.
"""

import os
import sys
from importlib import metadata
from typing import Any, NamedTuple

PREPARED = "DARKROOM_MARKER"  # in the environment of a process that is prepared


class Site(NamedTuple):
    """Where a stage runs, which each process of the cluster has to resemble."""

    project: str  # the folder in which it runs
    code: str  # the folder with the package darkroom
    marker: str  # a file of this run in the project
    versions: tuple[tuple[str, str], ...]  # of the packages that compute


def run(site: tuple[Any, ...], function: bytes, items: bytes) -> tuple[str, list[Any], str]:
    """Apply a function to each item.

    Args:
        site: the fields of a `Site`.
        function: pickled by Ray's cloudpickle; what it is imported from is in `code`.
        items: its arguments, pickled as well.

    Returns:
        What is wrong with this machine, or an empty string; the results; and the machine's kind of CPU.
    """
    from ray import cloudpickle

    if problem := prepare(*site):
        return problem, [], ""
    from darkroom.core.precision import kind_of_cpu

    call = cloudpickle.loads(function)
    return "", [call(item) for item in cloudpickle.loads(items)], kind_of_cpu()


def prepare(project: str, code: str, marker: str, versions: tuple[tuple[str, str], ...]) -> str:
    """Change into the project; what is wrong with this machine, or an empty string."""
    if os.environ.get(PREPARED) == marker:
        return ""
    host = os.uname().nodename
    if not os.path.exists(os.path.join(project, marker)):  # noqa: PTH110, PTH118
        return f"{host} does not see the project in {project}: put it on a disk that all machines have under this path"
    others = [
        f"{name} {_version(name)} instead of {version}" for name, version in versions if _version(name) != version
    ]
    if others:
        return f"{host} has {', '.join(others)}: install the project's packages there"
    os.chdir(project)
    sys.path.insert(0, code)
    os.environ[PREPARED] = marker
    return ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
