"""Evaluations of made-up predictions on real pictures."""

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from darkroom.core import paths
from darkroom.core.files import link_or_copy, read_csv, write_csv, write_json
from darkroom.core.model_spec import BackboneSpec
from darkroom.evaluate.embedding import Embedding
from darkroom.evaluate.label_noise import LabelQuality
from darkroom.evaluate.params import Params
from darkroom.evaluate.predictions import Predictions
from darkroom.evaluate.slices import MEASURES
from darkroom.images.folders import PARTS
from darkroom.models.classifier import Classifier
from tests.helpers.training import model_spec

HISTORY = "epoch,accuracy,learning_rate,loss,val_accuracy,val_loss\n1,0.5,0.001,1.2,0.6,1.0\n2,0.7,0.001,0.8,0.7,0.9\n"
SMALL = {"mistakes": 2, "bootstrap": 100, "grad_cam": 4, "label_issues": 1}
# What is evaluated: number of classes, labels of the test pictures, probabilities or how much the model knows.
EVALUATIONS: dict[str, tuple[int, Any, Any]] = {
    "usual": (7, np.arange(60) % 5, 1.5),  # two classes without test pictures
    "two classes": (2, np.arange(30) % 2, 1.0),
    "no mistake": (3, np.arange(12) % 3, np.eye(3)[np.arange(12) % 3]),
    "no success": (3, np.arange(12) % 3, -50.0),
    "always the same class": (3, np.arange(12) % 3, np.tile([0.2, 0.7, 0.1], (12, 1))),
    "pictures of one class": (3, [1, 1, 1], 1.0),
    "one picture": (3, [1], 1.0),
    "one picture of each class": (4, [0, 1, 2, 3], 1.0),
    "many classes": (101, np.arange(202) % 101, 3.0),
}
NAMES = ["bag", "<b>coat</b> & 'co' \"x\"", "cost $a_1$ and $"]
LONG = "d" * 60


def class_names(count: int) -> list[str]:
    """Names of classes, the first three of them awkward, all others long."""
    return [*NAMES[:count], *(f"class {number} {LONG}" for number in range(len(NAMES), count))]


def probabilities(labels: np.ndarray, classes: int, strength: float, seed: int | np.random.Generator = 0) -> np.ndarray:
    """Random probabilities (pictures, classes), the more often right the larger `strength` is."""
    generator = np.random.default_rng(seed)
    odds = np.exp(generator.normal(size=(len(labels), classes)) + strength * (labels[:, None] == np.arange(classes)))
    return odds / odds.sum(axis=1, keepdims=True)


def made_up(pictures: int, classes: int, seed: int = 0, strength: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Random labels, and probabilities that are related to them."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=pictures)
    return labels, probabilities(labels, classes, strength, generator)


@st.composite
def evaluations(draw: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and probabilities of few pictures, many of them equal, some 0 or 1, and a weight for each picture."""
    classes, pictures = draw(st.integers(2, 4)), draw(st.integers(1, 14))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=pictures, max_size=pictures))
    parts = st.lists(st.integers(0, 3), min_size=classes, max_size=classes).filter(any)
    rows = np.array(draw(st.lists(parts, min_size=pictures, max_size=pictures)), float)
    weights = draw(st.lists(st.integers(0, 3), min_size=pictures, max_size=pictures).filter(any))
    return np.array(labels), rows / rows.sum(axis=1, keepdims=True), np.array(weights, np.int32)


def predictions(paths_: list[Path], labels: np.ndarray, given: np.ndarray, temperature: float = 1.0) -> Predictions:
    """Predictions on pictures, which are repeated where there are fewer of them than labels."""
    uncalibrated = given**temperature / (given**temperature).sum(axis=1, keepdims=True)
    names = [str(paths_[row % len(paths_)]) for row in range(len(labels))]
    return Predictions(names, np.asarray(labels), uncalibrated, given)


def evaluated(
    pictures: list[Path],
    classes: int,
    labels: Any,
    given: np.ndarray | float = 1.5,
    temperature: float = 1.5,
    sha256: str = "abc",
    mapped: bool = False,
    **changes: Any,
) -> tuple[Classifier, dict[str, Any], str]:
    """Run the stage in the current folder, except for the prediction.

    Args:
        pictures: files, of which all splits consist.
        classes: how many.
        labels: class numbers of the test pictures.
        given: probabilities (pictures, classes), or the strength of random ones.
        temperature: of the calibration.
        sha256: of the model, as metrics.json has it.
        mapped: whether there are features, and so a map of the pictures.
        changes: params of the stage.

    Returns:
        The model, whose head has no Grad-CAM, the content of metrics.json, and the report.
    """
    from stages import evaluate

    labels = np.asarray(labels)
    given = given if isinstance(given, np.ndarray) else probabilities(labels, classes, given)
    if not paths.HISTORY.exists():
        paths.HISTORY.parent.mkdir(exist_ok=True)
        paths.HISTORY.write_text(HISTORY)
        write_json(paths.TRAIN_REPORT, {"model_sha256": sha256, "epochs": 2, "params": {}})
    _list(len(labels))
    names = class_names(classes)
    backbone = BackboneSpec(backbone="VGG16", weights="imagenet", image_size=(32, 32), pooling="avg")
    head = {"type": "knn", "prepare": None, "fitted": {"neighbours": 5}}
    settings = {"backbone": backbone, "layers": ("block3_pool",), "features": 256}
    model = Classifier(model_spec(head, names, temperature=temperature, epoch=2, **settings), None, None)
    parts = {part: predictions(_placed(part, pictures, len(labels)), labels, given, temperature) for part in PARTS}
    params = Params(**(SMALL | changes))
    issues = [LabelQuality(str(path), "train", names[0], names[1], 0.01, 0.9) for path in pictures[:2]]
    embedding = _embedding(parts) if mapped else None
    metrics = evaluate.evaluate(model, sha256, parts, embedding, issues if params.label_issues else None, params, 1)
    return model, metrics, paths.REPORT.read_text()


def _embedding(parts: dict[str, Predictions]) -> Embedding:
    """Features that differ between the classes."""
    pictures = [(part, path) for part, each in parts.items() for path in each.paths]
    labels = np.concatenate([each.labels for each in parts.values()])
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(labels.max() + 1, 8))
    features = centres[labels] + 0.1 * generator.normal(size=(len(labels), 8))
    return Embedding(pictures, labels, features.astype(np.float32))


def _placed(part: str, pictures: list[Path], count: int) -> list[Path]:
    """Pictures in a split of the current folder, as the table of the set lists them."""
    placed = [Path("data/split", part, "c", f"{row}.png") for row in range(count)]
    for row, path in enumerate(placed):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(pictures[row % len(pictures)], path)
    return placed


def _list(count: int) -> None:
    """Add these pictures to the table of the set."""
    columns = ("picture", "decision", "source", "source_group", *MEASURES)
    usual = dict(zip(columns, ("", "", "", "", "28", "28", "0.5", "9.0"), strict=True))
    listed = [usual | row for row in read_csv(paths.GROUPS)] if paths.GROUPS.exists() else []
    names = {row["picture"] for row in listed}
    wanted = (f"train/c/{row}.png" for row in range(count))
    listed += [usual | {"picture": name} for name in wanted if name not in names]
    write_csv(paths.GROUPS, columns, [[row[column] for column in columns] for row in listed])
