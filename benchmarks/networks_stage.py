"""A network trained by the code of stage `train`, for `benchmarks.networks`."""

import time
from pathlib import Path
from unittest import mock

from benchmarks.networks import RECIPES
from benchmarks.rounds import spread
from darkroom.core import runtime
from darkroom.images.folders import Picture, listed
from darkroom.pipeline import params, recipes


def train(network: str, setting: str, epochs: int, count: int | None, scratch: Path) -> tuple[list[float], float]:
    """The time at the end of each epoch, and the accuracy on validation after the last one."""
    change = [f"train.epochs={epochs}", f"train.precision={setting}", "train.keep=last"]
    section = params.check(recipes.merged(RECIPES[network], change)).train
    runtime.prepare(42)
    from darkroom.train import scratch as mode
    from darkroom.train.loop import Session

    ends: list[float] = []
    accuracies: list[float] = []

    def log(_: int, figures: dict[str, float]) -> None:
        ends.append(time.perf_counter())
        accuracies.append(figures["val_accuracy"])

    with mock.patch.object(mode, "listed", lambda part: pictures(part, count)):
        mode.fit(section, Session(42, scratch, log))
    return ends, accuracies[-1]


def pictures(part: str, count: int | None) -> list[Picture]:
    """The pictures of a part; of train, `count` of them."""
    every = listed(part)
    return spread(every, count) if count and part == "train" else every
