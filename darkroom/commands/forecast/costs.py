"""Seconds, memory and disk of each stage, from numbers of pictures and what one of them takes.

What is the same for all pictures and networks (imports, drawing, writing formats, DVC's work for each file) is not
rehearsed: these constants were measured with `python -m benchmarks.forecast`, and are scaled by the speed of Python.
"""

from typing import NamedTuple

from darkroom.commands.forecast.rehearsal import Rates
from darkroom.commands.forecast.workload import Workload
from darkroom.core.parallel import cores
from darkroom.pipeline.params import Params

# Seconds with Python at speed 1.
IMPORTS = 0.4  # of a stage without TensorFlow
TENSORFLOW = 2.7
PLOTS = {"download": 1.0, "evaluate": 2.5}
POSITION = 0.002  # a picture for which t-SNE runs
EXPORT = 4.0  # writing and loading the formats of a small model
WEIGHT = 3e-7  # a weight in it
FILE = 0.00038  # a file that a stage writes and DVC adds to its cache
BYTE = 4e-9  # a byte of features, the same
VALUE = 3.2e-8  # a feature in the search for wrong labels
GRADIENT = 4  # times a forward pass, of a picture for Grad-CAM

# Bytes.
BLOCK = 4096  # that a file takes at least
PYTHON = 200e6  # memory of a stage without TensorFlow
GROWTH = 1.3  # of the memory in a rehearsal, in a whole stage
EXPORT_MEMORY = 400e6  # beside TensorFlow, while formats are written, …
EXPORTED = 130  # … and a weight
VALUES = 2**25  # features from which the search for wrong labels takes its components, at most


class Stage(NamedTuple):
    """What a stage takes."""

    name: str
    seconds: float
    memory: float  # bytes, at most
    disk: float  # bytes that stay, in the project and in DVC's cache


def forecast(params: Params, work: Workload, size: float, rates: Rates) -> list[Stage]:
    """The stages in their order.

    Args:
        params: all sections.
        work: numbers of pictures.
        size: bytes of a picture's file, on average.
        rates: of this machine.
    """
    from darkroom.evaluate.picture_map import LANDMARKS  # imports matplotlib

    tensorflow = GROWTH * rates.memory["tensorflow"]
    start, loaded = IMPORTS / rates.speed, (IMPORTS + TENSORFLOW) / rates.speed
    file, written = FILE / rates.speed, max(size, BLOCK)
    held = work.val + work.test
    rows = work.trained * rates.feature_size + held * 4  # bytes of a feature of every picture
    values = (work.kept + work.added) * rates.features
    from_tfds = params.download.source == "tfds"
    weights = 4 * rates.weights
    forward = rates.predict + (0 if rates.from_pixels else rates.exact)
    passes = 2 if params.train.mode == "scratch" else 1  # the second one for the embedding
    stages = {
        "download": (
            (loaded if from_tfds else start)
            + PLOTS["download"] / rates.speed
            + work.found * rates.check / cores()
            + work.kept * file,
            tensorflow if from_tfds else PYTHON,
            2 * work.kept * written,
        ),
        "split": (start + work.kept * file, PYTHON, work.kept * written),
        "augment": (
            (loaded if work.added else start) + work.added * (rates.change + file),
            tensorflow if work.added else PYTHON,
            2 * work.added * max(rates.changed_size, BLOCK),
        ),
        "extract": (
            loaded + work.trained * rates.reduced + held * rates.exact + rows * rates.features * BYTE / rates.speed,
            GROWTH * rates.memory["extract"],
            3 * rows * rates.features + 2 * weights,
        )
        if params.extract.backbone
        else (start, PYTHON, 0.0),
        "train": (loaded + rates.training, GROWTH * rates.memory["train"], 2 * weights + rates.checkpoints),
        "evaluate": (
            loaded
            + PLOTS["evaluate"] / rates.speed
            + min(work.kept, params.evaluate.map, LANDMARKS) * POSITION / rates.speed
            + min(work.kept, params.evaluate.map) * rates.check / cores()
            + passes * work.kept * rates.predict
            + bool(params.evaluate.label_issues) * values * VALUE / rates.speed
            + params.evaluate.grad_cam * GRADIENT * forward,
            (tensorflow if params.train.mode == "head" else GROWTH * rates.memory["train"])
            + 12 * min(values, VALUES)
            + 4 * weights,
            20e6,
        ),
        "export": (
            loaded
            + (EXPORT + WEIGHT * rates.exported) / rates.speed
            + (1 + len(params.export.formats)) * params.export.check_pictures * forward,
            tensorflow + EXPORT_MEMORY + EXPORTED * rates.exported,
            2 * len(params.export.formats) * 4 * rates.exported,
        ),
    }
    return [Stage(name, *numbers) for name, numbers in stages.items()]
