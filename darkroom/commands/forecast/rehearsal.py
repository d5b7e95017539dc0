"""Measure for some seconds what a picture takes on this machine, with the code of the stages."""

import contextlib
import io
import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from darkroom.augment import new_pictures
from darkroom.commands.forecast.workload import Workload
from darkroom.core import precision, runtime
from darkroom.core.errors import UserError
from darkroom.core.parallel import cores
from darkroom.core.precision import EXACT
from darkroom.download.sources.base import SourceFile
from darkroom.download.validation import Bounds, check, jobs
from darkroom.extract.forward import BATCH, features
from darkroom.pipeline.params import Params

if TYPE_CHECKING:
    import numpy as np

SAMPLE = Path("sample")  # folder of the pictures to measure with, below that of the rehearsal
ENOUGH = 1.0  # seconds after which a rate is known, or after …
MOST_BATCHES = 12  # … so many
ROUNDS = 5  # of the measurement of Python, of which the fastest counts
REFERENCE = 0.0078  # its seconds at speed 1
STATUS, PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Rates(NamedTuple):
    """What one picture takes, or a whole stage; seconds and bytes."""

    speed: float = 1.0  # of Python, 1 for the machine on which the constants in costs.py were measured
    check: float = 0.0  # seconds in which one process checks a file
    change: float = 0.0  # seconds for which all cores change a picture
    changed_size: float = 0.0  # bytes of a changed picture
    reduced: float = 0.0  # seconds of a picture through the backbone, in the precision of train
    exact: float = 0.0  # the same in float32
    features: int = 0  # of a picture
    feature_size: int = 4  # bytes of one in train
    training: float = 0.0  # seconds of all epochs
    checkpoints: int = 0  # bytes that a training leaves in .cache
    predict: float = 0.0  # seconds in which the trained model classifies a picture from what it takes as its input, …
    from_pixels: bool = False  # … which is the picture, or else its features
    weights: int = 0  # number of those in models, where the backbone is whole, …
    exported: int = 0  # … and in exports, where it ends at the layers of the features, if it was not fine-tuned
    memory: Mapping[str, int] = MappingProxyType({})  # bytes that a process takes at most: tensorflow, extract, train


def rehearse(params: Params, work: Workload, folder: Path) -> Rates:
    """Measure in a process of its own, whose working directory is `folder`.

    Args:
        params: all sections.
        work: numbers of pictures.
        folder: a project with the pictures `sample/*`, which gets a link to the teacher; it may be deleted afterwards.

    Raises:
        UserError: as the stages would, such as for a layer that does not exist; or the process was killed.
    """
    if params.train.teacher:
        link = folder / params.train.teacher
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path(params.train.teacher).absolute())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, os.chdir, (folder,)) as pool:
        try:
            return pool.submit(measure, params, work).result()
        except BrokenProcessPool:
            raise UserError(
                "the process that measures how long this takes was killed, probably for lack of memory, as the run "
                "would be: close other programs, or choose a smaller image_size, batch_size or network."
            ) from None


def measure(params: Params, work: Workload) -> Rates:
    """The rates, measured in this process and in its working directory.

    Raises:
        UserError: no picture of the sample can be used.
    """
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        seconds, sample = _check(sorted(SAMPLE.iterdir()), params)
        rates: dict[str, Any] = {"speed": _speed(), "check": seconds}
        runtime.prepare(params.base.seed)
        from darkroom.commands.forecast import training

        memory = {"tensorflow": _peak()}
        if work.added:
            rates |= _change(sample, params)
        rows = None
        if params.extract.backbone:
            extracted, rows = _extract(sample, params)
            rates |= extracted
            memory["extract"] = _peak()
        trained = training.measure(sample, rows, params, work)
        head, whole = trained.pop("head", 0), params.train.mode == "fine_tune"
        trained["weights"] = head + rates.get("weights", 0)
        trained["exported"] = head + rates.get("weights" if whole else "exported", 0)
        rates |= trained
        memory["train"] = _peak()
        return Rates(**rates, memory=memory)


@contextlib.contextmanager
def timed() -> Iterator[list[float]]:
    """Yield a list that gets the seconds of the block."""
    seconds: list[float] = []
    started = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - started)


def _peak() -> int:
    """The most memory in bytes that this process has used since the last call; 0 on systems that do not tell."""
    if not STATUS.exists():
        return 0
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    with contextlib.suppress(OSError):
        PEAK.write_text("5")  # starts to count anew
    return 1024 * int(lines["VmHWM"].split()[0])


def _speed() -> float:
    """Of work like that of imports, drawing and DVC."""
    rounds = []
    for _ in range(ROUNDS):
        with timed() as seconds:
            json.loads(json.dumps([{"name": str(number), "values": [number] * 8} for number in range(5_000)]))
        rounds += seconds
    return REFERENCE / min(rounds)


def _check(sample: Sequence[Path], params: Params) -> tuple[float, list[Path]]:
    """Seconds for a file, and the files that `download` would keep."""
    bounds = Bounds(params.download.min_side, params.download.max_megapixels * 1e6)
    files = [SourceFile("train", "sample", path.name, path) for path in sample]
    work = list(jobs(files, Path("checked"), bounds, params.base.seed))
    check(work[0])  # imports libraries
    with timed() as seconds:
        reasons = [check(job).reason for job in work]
    good = [path for path, reason in zip(sample, reasons, strict=True) if reason is None]
    if not good:
        raise UserError(
            f"none of {len(sample)} pictures from the source can be used ({reasons[0]}): check download.path."
        )
    return seconds[0] / len(work), good


def _change(sample: Sequence[Path], params: Params) -> dict[str, Any]:
    count = new_pictures.CHUNK * cores()  # a core makes a chunk
    pictures = [new_pictures.Job(sample[row % len(sample)], row, Path(f"changed/{row}.png")) for row in range(count)]
    for _ in range(2):  # the first time, TensorFlow traces
        with timed() as seconds:
            new_pictures.make(pictures, params.augment.transforms(), params.base.seed)
    sizes = [job.target.stat().st_size for job in pictures]
    return {"change": seconds[0] / count, "changed_size": sum(sizes) / count}


def _extract(sample: Sequence[Path], params: Params) -> "tuple[dict[str, Any], np.ndarray]":
    """What a picture takes in both precisions, and the features of some (pictures, n)."""
    import numpy as np

    from darkroom.backbones import keras_apps

    settings = params.extract
    name, size = str(settings.backbone), (settings.image_size[0], settings.image_size[1])
    reduced = precision.choose(settings.precision).policy
    seconds: dict[str, float] = {}
    for policy in dict.fromkeys((EXACT, reduced)):
        network = keras_apps.network(name, size, policy)
        model = keras_apps.feature_extractor(network, name, size, settings.layers, settings.pooling, settings.mirror)
        paths = [sample[row % len(sample)] for row in range(BATCH * MOST_BATCHES)]
        batches = features(model, paths, size, policy)
        outputs = next(batches)  # TensorFlow traces
        total, count = 0.0, 0
        while count < MOST_BATCHES - 1 and total < ENOUGH:
            with timed() as each:
                next(batches)
            total, count = total + each[0], count + 1
        seconds[policy] = total / count / BATCH
    rows = np.concatenate(list(outputs.values()), axis=1)
    rates = {"exact": seconds[EXACT], "reduced": seconds[reduced], "weights": network.count_params()}
    rates["exported"] = model.count_params()
    return rates | {"features": rows.shape[1], "feature_size": rows.itemsize}, rows.astype(np.float32)
