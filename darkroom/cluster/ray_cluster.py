"""Map functions over many items with Ray, on a cluster or in processes on this machine."""

import contextlib
import itertools
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import ray

from darkroom.cluster import worker
from darkroom.cluster.params import Compute
from darkroom.cluster.window import Window
from darkroom.core import parallel, paths
from darkroom.core.errors import UserError
from darkroom.core.hashing import PACKAGE
from darkroom.core.partial_files import partial_file
from darkroom.core.terminal import silent

T = TypeVar("T")
R = TypeVar("R")
COMPUTING = ("numpy", "pillow", "pillow-heif", "scipy", "keras", "tensorflow")  # packages on which results depend
QUIET: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
SECONDS = 10.0  # in which a cluster answers
LONGEST = 45  # characters of the folder for Ray's sockets: their own names take 60 of the 107 that Linux allows


# It waits for a line. $0 is the cluster's address.
LAST_WORDS = """read -r line || echo "The stage was ended, probably by Ray because it lost its cluster at $0: \
see that the cluster runs, then repeat the command." >&2"""


@contextlib.contextmanager
def _last_words(address: str) -> Iterator[None]:
    """Let another process say so if Ray ends this one within the block: it raises nothing, and may say nothing."""
    with subprocess.Popen(["sh", "-c", LAST_WORDS, address], stdin=subprocess.PIPE) as speaker:
        try:
            yield
        finally:
            speaker.communicate(b"\n")


class RayCluster:
    """A cluster: an existing one, or one on this machine that ends with the stage."""

    def __init__(self, compute: Compute, stack: contextlib.ExitStack) -> None:
        """Nothing is started before it is needed, since many stages find all they need in caches.

        Args:
            compute: its section.
            stack: ends what is started.
        """
        self._compute, self._stack = compute, stack
        self._site: worker.Site | None = None
        self.kinds_of_cpu: set[str] = set()

    def map(self, function: Callable[[T], R], items: Iterable[T], chunk: int, threads: int = 1) -> Iterator[R]:
        """Yield `map(function, items)`; only some chunks of `items` are held in memory.

        Args:
            function: gives the same result wherever and however often it is called.
            items: its arguments.
            chunk: items that a process takes together.
            threads: that the function uses; its process takes as many CPUs, or as many as the smallest machine has.

        Raises:
            UserError: the cluster cannot be reached or used, or processes were killed again and again.
        """
        if not self._site:
            self._site = self._connect()
        call = (tuple(self._site), ray.put(ray.cloudpickle.dumps(function)))
        remaining, more = iter(items), True
        with Window(ray.remote(worker.run), call, threads, self._compute.workers) as window:
            while more or window.chunks:
                if more and window.has_room():
                    if more := bool(batch := list(itertools.islice(remaining, chunk))):
                        window.send(batch)
                elif window.first_is_done():
                    problem, results, kind_of_cpu = window.pop()
                    if problem:
                        raise UserError(f"{problem}.")
                    self.kinds_of_cpu.add(kind_of_cpu)
                    yield from results
                else:
                    window.wait()

    def _connect(self) -> worker.Site:
        """Start or find the cluster; what its processes have to know."""
        # Ray takes this machine's address in its network for 127.0.0.1: what it starts would listen to everybody.
        from unittest import mock

        with mock.patch("ray._private.services.resolve_ip_for_localhost", lambda host: host):
            self._join(self._compute.address) if self._compute.address else self._start()
        self._stack.callback(ray.shutdown)
        self._stack.enter_context(_last_words(ray.get_runtime_context().gcs_address))
        ray.cloudpickle.register_pickle_by_value(worker)
        marker = self._stack.enter_context(partial_file(paths.cache() / "cluster"))
        marker.touch()
        versions = tuple((name, metadata.version(name)) for name in COMPUTING)
        return worker.Site(str(Path.cwd()), str(PACKAGE.parent), os.path.relpath(marker), versions)

    def _join(self, address: str) -> None:
        """Connect to a cluster.

        Raises:
            UserError: there is none that can be used.
        """
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), SECONDS).close()  # Ray would try for minutes
            with silent():  # Ray reports each of its many attempts
                ray.init(address, **QUIET)
        except (OSError, OverflowError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"compute.address {address} is no Ray cluster that can be used ({reason}): start one with `ray start "
                "--head`, with the same versions and RAY_AUTH_TOKEN as here, or set the address to null."
            ) from None

    def _start(self) -> None:
        """Start a cluster on this machine, which nobody else can use.

        Raises:
            UserError: the folder for temporary files has too long a path.
        """
        folder = Path(tempfile.gettempdir()) / "ray"
        if len(str(folder)) > LONGEST:
            raise UserError(f"Ray's sockets do not fit into {folder.parent}: set TMPDIR to a folder with a short path.")
        count = self._compute.workers or parallel.cores()
        ray.init("local", num_cpus=count, _node_ip_address="127.0.0.1", _temp_dir=str(folder), **QUIET)
