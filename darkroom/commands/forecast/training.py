"""Measure what a training takes: a few steps of it, or a fit on a few rows."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.backbones import keras_apps
from darkroom.commands.forecast.rehearsal import timed
from darkroom.commands.forecast.workload import Workload
from darkroom.core import paths, precision
from darkroom.core.files import link_or_copy, write_csv, write_json
from darkroom.core.model_spec import BACKBONE, BackboneSpec
from darkroom.core.weights_file import save_weights
from darkroom.extract import forward
from darkroom.extract.params import Params as Extract
from darkroom.images.folders import PARTS, Picture, listed
from darkroom.models.classifier import Classifier
from darkroom.models.inputs import Held, Pictures
from darkroom.pipeline.params import Params
from darkroom.train import features, fine_tuning, scratch, teacher
from darkroom.train.loop import Session
from darkroom.train.params import Params as Train
from darkroom.train.teacher import BATCH

EPOCHS = 2  # of a rehearsal; in the first one, TensorFlow traces
STEPS, MORE_STEPS = 8, 128  # of such an epoch; more if they are short
SHORT = 0.5  # seconds of the longest phase
MOST = 1024  # pictures in the rehearsal's folders
CLASSES = 10  # in them, at most: each needs a picture, and adds next to nothing to a network's time
ROWS = 300  # on which a classical head is fitted, and twice as many
FORWARD = 1 / 3  # of the time of a step, which goes forward and backward, is that of a validation
SETTINGS = {"steps": None, "patience": None, "keep": "last", "checkpoints": "best", "teacher": None, "epochs": EPOCHS}
Fit = Callable[[Train, Session], Any]


def measure(sample: Sequence[Path], rows: np.ndarray | None, params: Params, work: Workload) -> dict[str, Any]:
    """The fields of `Rates` that a training gives, and the number of weights in the head.

    Args:
        sample: pictures.
        rows: features of some pictures (pictures, n); None without a backbone.
        params: all sections.
        work: numbers of pictures.
    """
    settings, own = params.train, params.train.fine_tune
    short = settings.model_copy(
        update=SETTINGS | {"warmup_epochs": 0, "fine_tune": own.model_copy(update={"epochs": EPOCHS})}
    )
    labels = [str(number) for number in range(work.classes)]
    if settings.mode == "head":
        if rows is None:
            return {}
        if not settings.by_descent:
            return {"training": _classical(short, rows, labels, work.trained)}
        held = _held(rows, labels, max(settings.batch_size, len(labels)))
        fit: Fit = partial(_fit_head, held, labels)
    else:
        labels = labels[:CLASSES]
        _project(sample, labels, min(MOST, max(settings.batch_size, own.batch_size, len(labels))))
        fit = scratch.fit
        if settings.mode == "fine_tune":
            fit = partial(_fine_tune, _write_features(params.extract))
    phases = [(settings.most_epochs(), settings.batch_size)]
    if settings.mode == "fine_tune":
        phases = [*phases[: own.warm_up], (own.epochs, own.batch_size)]
    seconds, result, state = _step_seconds(fit, short, len(phases))
    total = 0.0
    for (epochs, batch), step in zip(phases, seconds, strict=True):
        steps = settings.validate_every or math.ceil(work.trained / batch)
        total += epochs * step * (steps + FORWARD * work.val / batch)
    if settings.teacher:
        total += work.trained * _teacher_seconds(Path(settings.teacher), sample)
    rates = {"training": total, "checkpoints": sum(path.stat().st_size for path in state.rglob("*"))}
    if settings.mode == "head":
        return rates | {"head": result.count_params()}
    model = result.model
    val = model.inputs("val")
    for _ in range(2):  # the first time, TensorFlow traces
        with timed() as predicted:
            model.logits(val)
    rates |= {"predict": predicted[0] / len(val), "from_pixels": isinstance(val, Pictures)}
    return rates | {"head": model.head.count_params()}


def _fit_head(held: Held, labels: list[str], settings: Train, session: Session) -> Any:
    return features.fit_head(settings, held, held, labels, session)[1]


def _fine_tune(backbone: BackboneSpec, settings: Train, session: Session) -> Any:
    return fine_tuning.fit(settings, backbone, session, paths.MODELS)


def _step_seconds(fit: Fit, settings: Train, phases: int) -> tuple[list[float], Any, Path]:
    """Seconds of a step in each phase, the result of the training, and the folder of what it keeps to go on."""
    for steps in (STEPS, MORE_STEPS):
        times: list[float] = []
        state = Path(f"state/{steps}")
        session = Session(0, state, lambda *_: times.append(time.perf_counter()))  # noqa: B023
        result = fit(settings.model_copy(update={"validate_every": steps}), session)
        ends = times[EPOCHS - 1 :: EPOCHS][:phases]
        last = [end - times[place * EPOCHS + EPOCHS - 2] for place, end in enumerate(ends)]
        if max(last) > SHORT:
            break
    return [seconds / steps for seconds in last], result, state


def _teacher_seconds(folder: Path, sample: Sequence[Path]) -> float:
    """Seconds in which a teacher classifies a picture."""
    batches = teacher.predictions(Classifier.load(folder), [sample[row % len(sample)] for row in range(2 * BATCH)])
    next(batches)  # TensorFlow traces
    with timed() as seconds:
        next(batches)
    return seconds[0] / BATCH


def _classical(settings: Train, rows: np.ndarray, labels: list[str], count: int) -> float:
    """Seconds of a fit on `count` rows: a power of their number, between 1 and 2."""
    seconds = []
    for number in (ROWS, min(ROWS, count), min(2 * ROWS, count)):  # the first time, libraries are imported
        held = _held(rows, labels, number)
        with timed() as each:
            _fit_head(held, labels, settings, Session(0, Path("state/classical"), lambda *_: None))
        seconds += each
    _, few, more = seconds
    power = min(2.0, max(1.0, math.log2(more / few)))
    return more * max(1.0, count / (2 * ROWS)) ** power


def _held(rows: np.ndarray, labels: list[str], count: int) -> Held:
    """Features that differ between classes, and a little from picture to picture (pictures, n)."""
    generator = np.random.default_rng(0)
    numbers = np.arange(max(count, len(labels))) % len(labels)
    noise = generator.normal(0, 0.1 * rows.std() + 1e-6, (len(numbers), rows.shape[1]))
    some = rows[generator.permutation(len(labels)) % len(rows)][numbers] + noise
    pictures = [Picture(Path(str(place)), labels[number]) for place, number in enumerate(numbers)]
    return Held(some.astype(np.float32), Pictures(pictures, (1, 1)))


def _project(sample: Sequence[Path], labels: list[str], count: int) -> None:
    """The outputs of split and augment, with so many pictures in train, and some in the others."""
    for part, number in (("train", count), ("val", max(len(sample), len(labels))), ("test", len(labels))):
        for place in range(number):
            path = sample[place % len(sample)]
            target = paths.SPLIT / part / labels[place % len(labels)] / f"{place}{path.suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(path, target)
    write_csv(paths.AUGMENTED / paths.LEFT_OUT, ("picture",), [])
    write_json(paths.AUGMENT_REPORT, {label: {"pictures": 0, "added": 0, "left_out": 0} for label in labels})


def _write_features(settings: Extract) -> BackboneSpec:
    """The outputs of extract for these pictures, with random weights, and their specification."""
    name, size = str(settings.backbone), (settings.image_size[0], settings.image_size[1])
    network = keras_apps.network(name, size)
    model = keras_apps.feature_extractor(network, name, size, settings.layers, settings.pooling, settings.mirror)
    paths.FEATURES.mkdir(parents=True)
    for part in PARTS:
        pictures = listed(part)
        batches = list(forward.features(model, [picture.path for picture in pictures], size, precision.EXACT))
        for layer in settings.layers:
            np.save(paths.FEATURES / f"{part}.{layer}.npy", np.concatenate([batch[layer] for batch in batches]))
        rows = [("", picture.path, picture.label) for picture in pictures]
        write_csv(paths.FEATURES / f"{part}.csv", ("sha256", "path", "label"), rows)
    save_weights(network, paths.FEATURES / BACKBONE)
    paths.MODELS.mkdir()
    return BackboneSpec(backbone=name, image_size=size, layers=tuple(settings.layers), pooling=settings.pooling)
