"""A whole project of a few dozen small pictures, on which every stage takes little more than its imports."""

import shutil
from pathlib import Path
from typing import Any

from tests.helpers.project import clone, commit, identify, run, set_params
from tests.helpers.small_sets import write_layout
from tests.helpers.stores import new_store

ORDER = ("download", "split", "augment", "extract", "train", "evaluate", "export")
# The outputs of each stage, which DVC deletes before it runs one.
OUTPUTS = {
    "download": ("data/raw", "reports/dataset", "reports/dataset.json", "reports/groups.csv", "reports/issues.csv"),
    "split": ("data/split", "reports/split.csv", "reports/split.json"),
    "augment": ("data/augmented", "reports/augment.csv", "reports/augment.json", "reports/augment.jpg"),
    "extract": ("data/features", "reports/extract.json", ".cache/features"),
    "train": ("models", "reports/history.csv", "reports/model.txt", "reports/train.json", ".cache/training"),
    "evaluate": ("reports/metrics.json", "reports/predictions.csv", "reports/plots", "reports/report.html"),
    "export": ("exports", "reports/export.json"),
}
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


def remove_outputs(folder: Path, first: str) -> None:
    """Remove what a stage and those after it have written."""
    for stage in ORDER[ORDER.index(first) :]:
        for output in OUTPUTS[stage]:
            target = folder / output
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
