"""The engine of section `compute`, for the duration of a stage."""

import contextlib
import os
import secrets
from collections.abc import Iterator

from darkroom.cluster.params import Compute
from darkroom.core import parallel
from darkroom.core.errors import UserError


@contextlib.contextmanager
def engine(compute: Compute) -> Iterator[None]:
    """Let `darkroom.core.parallel` use the engine of section `compute` within the block.

    Raises:
        UserError: it is not installed.
    """
    if compute.engine == "local":
        yield
        return
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_COLOR_PREFIX": "0"}
    if not compute.address:  # a cluster for this stage alone
        settings |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    for name, value in settings.items():
        os.environ.setdefault(name, value)  # before Ray is imported
    try:
        from darkroom.cluster.ray_cluster import RayCluster
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        sentence = "compute.engine is ray, which is not installed: run `make cluster`, or set it to local."
        raise UserError(sentence) from None
    with contextlib.ExitStack() as stack, parallel.computing_on(RayCluster(compute, stack)):
        yield
