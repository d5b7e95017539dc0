"""A whole project of a few dozen small pictures, on which every stage takes little more than its imports."""

from pathlib import Path
from typing import Any

from tests.helpers.project import clone, commit, identify, run, set_params
from tests.helpers.small_sets import write_layout
from tests.helpers.stores import new_store

LAYOUT = "cat 24, dog 14, owl 20"
PARAMS: dict[str, Any] = {
    "download.source": "folder",
    "extract.backbone": "MobileNetV2",
    "extract.weights": "random",
    "extract.image_size": [32, 32],
    "extract.layers": ["block_1_expand_relu"],
    "extract.pooling": "avg",
    "extract.precision": "float32",
    "train.epochs": 6,
    "train.batch_size": 16,
    "train.head.hidden": [8],
    "train.precision": "float32",
    "evaluate.bootstrap": 100,
    "evaluate.grad_cam": 2,
    "evaluate.mistakes": 2,
    "evaluate.label_issues": 2,
    "export.formats": ["onnx"],
    "export.check_pictures": 4,
}
# What makes a training one of another mode.
MODES: dict[str, dict[str, Any]] = {
    "head": {},
    "classical": {"train.head.type": "logistic", "train.head.C": [1.0, 3.0]},
    "fine_tune": {
        "train.mode": "fine_tune",
        "train.epochs": 3,
        "train.fine_tune.unfreeze": "block_1_project",
        "train.fine_tune.top": "block_1_project",
        "train.fine_tune.epochs": 3,
        "train.fine_tune.learning_rate": 1e-4,
        "extract.layers": ["block_1_depthwise_relu"],
        "extract.pooling": "flatten",
    },
    "scratch": {
        "train.mode": "scratch",
        "train.network": "fashion_cnn",
        "train.scratch.image_size": [28, 28],
        "train.scratch.online": {"preset": "tutorial"},
        "extract.backbone": None,
    },
}


def tiny(folder: Path, **changes: Any) -> Path:
    """A clone with such pictures and params in which no stage has run."""
    clone(folder)
    write_layout(folder / "data/incoming", LAYOUT)
    identify(folder)
    set_params(folder, PARAMS | changes)
    commit(folder, "tiny")
    new_store(folder / "mlflow.db")
    return folder


def run_all(folder: Path) -> Path:
    """Run all stages by DVC."""
    run("dvc", "repro", "-q", cwd=folder)
    commit(folder, "first run")
    return folder
