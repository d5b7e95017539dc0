"""A forecast as text for a person."""

from collections.abc import Sequence
from pathlib import Path

from darkroom.commands.forecast.costs import Stage
from darkroom.core.errors import free_space, size
from darkroom.core.terminal import clock, table
from darkroom.pipeline.params import Params


def described(stages: Sequence[Stage], params: Params) -> str:
    """A table of the stages, and a sentence for each resource of which there is too little."""
    seconds, disk = sum(stage.seconds for stage in stages), sum(stage.disk for stage in stages)
    memory = max(stage.memory for stage in stages)
    rows = [[stage.name, clock(stage.seconds), size(stage.memory), size(stage.disk)] for stage in stages]
    heading = ["stage", "minutes", "memory", "disk"]
    lines = [table([heading, *rows, ["in all", clock(seconds), size(memory), size(disk)]])]
    if params.train.by_descent and params.train.patience and any(stage.name == "train" for stage in stages):
        lines.append("Training may stop earlier (train.patience).")
    lines += _shortages(memory, disk)
    return "\n".join(lines)


def _shortages(memory: float, disk: float) -> list[str]:
    import psutil

    free = {"memory": (memory, psutil.virtual_memory().available), "disk": (disk, free_space(Path.cwd()))}
    return [
        f"Only {size(available)} of {resource} are free: the run may end for lack of it."
        for resource, (needed, available) in free.items()
        if needed > available
    ]
