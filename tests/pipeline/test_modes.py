"""Every head, way to fine-tune, network from scratch, optimizer and schedule through `dvc repro`, on real pictures."""

import json
import shutil

import numpy as np
import pytest

from darkroom.core.files import read_csv
from darkroom.inference.formats import FORMATS
from tests.helpers.project import repro, run, set_param

TRAINED = ["train", "evaluate", "export"]
EXTRACTED = ["extract", *TRAINED]
FINE = {"train.mode": "fine_tune", "train.epochs": 4, "train.fine_tune.epochs": 2}
MOBILE = {"extract.backbone": "MobileNetV2", "extract.weights": "random", "extract.layers": ["block_15_add"]}

SCRATCH = {  # in batches so small that batch norm sees enough of them to know its means
    "train.mode": "scratch", "train.epochs": 18, "train.batch_size": 16, "train.patience": None,
    "train.learning_rate": 0.001,
}  # fmt: skip

# Name: changes of params.yaml, the stages that run, the least accuracy (chance is 0.1), whether `make test` has it.
# The features at hand are those of VGG16's block3_pool, flat.
MODES = {
    "dense": ({"train.head.activation": "tanh", "train.head.batch_norm": True}, TRAINED, 0.5, False),
    "logistic": ({"train.head.type": "logistic", "train.calibration": "none"}, TRAINED, 0.6, False),
    "linear svm": ({"train.head.type": "linear_svm", "train.class_weights": "balanced"}, TRAINED, 0.6, False),
    "rbf svm": ({"train.head.type": "rbf_svm"}, TRAINED, 0.6, True),
    "k-nn": ({"train.head.type": "knn"}, TRAINED, 0.6, False),
    "tree": ({"train.head.type": "tree", "train.head.leaf": [2, 5]}, TRAINED, 0.35, False),
    "forest": ({"train.head.type": "forest", "train.head.trees": [30, 60]}, TRAINED, 0.6, False),
    "two layers, sigmoid": (
        {"download.classes": ["Bag", "Coat"], "extract.layers": ["block2_pool", "block4_pool"],
         "extract.pooling": "max", "train.head.output": "sigmoid"},
        ["download", "split", "augment", *EXTRACTED], 0.8, False,
    ),
    "block from the cut": ({**FINE, "train.fine_tune.unfreeze": "block4"}, TRAINED, 0.3, True),
    "layers from the cut": (
        {**FINE, "train.fine_tune.unfreeze": 2, "extract.layers": ["block5_conv1"], "train.schedule": "cosine"},
        EXTRACTED, 0.3, False,
    ),
    "reduced precision": (
        {**FINE, "train.fine_tune.unfreeze": "block4", "train.precision": "mixed_bfloat16"},
        TRAINED, 0.3, False,
    ),
    "batch norm": (
        {**MOBILE, **FINE, "train.fine_tune.unfreeze": "block_16", "train.optimizer": "adamw",
         "train.schedule": "plateau"},
        EXTRACTED, 0.05, False,  # random weights: it runs, no more
    ),
    "all": (
        {**FINE, "train.fine_tune.unfreeze": "all", "extract.layers": ["block5_pool"], "extract.pooling": "avg",
         "train.optimizer": "rmsprop"},
        EXTRACTED, 0.3, False,
    ),
    "new pixels": (
        {**FINE, "train.fine_tune.unfreeze": "block4", "train.fine_tune.online": {"preset": "tutorial"},
         "train.fine_tune.mixup": 0.2, "train.fine_tune.cutmix": 0.5, "train.label_smoothing": 0.1,
         "train.optimizer": "sgd", "train.momentum": 0.9, "train.nesterov": True, "train.fine_tune.learning_rate": 1e-4,
         "train.learning_rate": 0.01},
        TRAINED, 0.3, False,
    ),
    "fashion_cnn": (
        {**SCRATCH, "train.network": "fashion_cnn", "train.scratch.image_size": [28, 28], "train.optimizer": "sgd",
         "train.momentum": 0.9, "train.nesterov": True, "train.learning_rate": 0.01, "train.schedule": "cosine",
         "train.precision": "float32", "train.device": "cpu:0"},
        TRAINED, 0.5, True,
    ),
    "mnist_cnn": (
        {**SCRATCH, "train.network": "mnist_cnn", "train.scratch.image_size": [28, 28], "train.scratch.color": "grey",
         "train.steps": 120, "train.validate_every": 20, "train.shuffle": False, "train.keep": "last",
         "train.learning_rate": 1e-4, "train.tensorboard": "activations"},
        TRAINED, 0.5, False,
    ),
    "mini_vggnet": (
        {**SCRATCH, "train.optimizer": "rmsprop", "train.schedule": "plateau",
         "train.scratch.online": {"preset": "none", "horizontal_flip": True, "width_shift": 0.1},
         "train.scratch.mixup": 0.2, "train.scratch.cutmix": 0.5},
        TRAINED, 0.3, False,
    ),
    "dense network": (
        {**SCRATCH, "train.network": "dense", "train.optimizer": "adamw", "train.weight_decay": 0.01,
         "train.scratch.activation": "tanh", "train.strategy": "mirrored"},
        TRAINED, 0.5, False,
    ),
    "small_resnet": (
        {**SCRATCH, "extract.backbone": None, "train.network": "small_resnet", "train.checkpoints": "all",
         "train.keep": 18, "train.label_smoothing": 0.1, "train.class_weights": "balanced"},
        EXTRACTED, 0.4, False,
    ),
}  # fmt: skip


# Weights of 8 bits move votes of trees and neighbours, and a network that learnt for seconds is seldom sure: their gate
# of nine labels in ten then hangs on single pictures. tests/test_formats.py has every head in every format.
NOT_IN_8_BITS = ("k-nn", "tree", "forest", "mini_vggnet")


def formats_of(name):
    """Two that differ from the next mode's: by turns all of them, for each kind of training."""
    kinds, turn = list(FORMATS), list(MODES).index(name)
    chosen = [kinds[turn % len(kinds)], kinds[(turn + 2) % len(kinds)]]
    return [kind for kind in chosen if kind != "litert_int8" or name not in NOT_IN_8_BITS]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if mode[-1] else [pytest.mark.full, pytest.mark.table])
        for name, mode in MODES.items()
    ],
)
def test_a_mode_runs_whole(project, tmp_path, name):
    changes, stages, least, _ = MODES[name]
    folder = tmp_path / "copy"
    shutil.copytree(project, folder, symlinks=True)
    for key, value in changes.items():
        set_param(folder, key, value)
    formats = formats_of(name)
    set_param(folder, "export.formats", formats)
    assert repro(folder) == stages
    figures = json.loads((folder / "reports/metrics.json").read_text())
    assert figures["accuracy"] >= least
    assert np.isfinite(figures["log_loss"])
    report = json.loads((folder / "reports/train.json").read_text())
    history = read_csv(folder / "reports/history.csv")
    assert len(history) == report["epochs"]
    assert report["kept_epoch"] == {"best": report["best_epoch"], "last": report["epochs"]}.get(
        changes.get("train.keep", "best"), changes.get("train.keep")
    )
    assert report["best_val_loss"] == min(float(row["val_loss"]) for row in history)
    if changes.get("train.mode") == "fine_tune":
        assert len(history) == report["warm_up_epochs"] + 2
        assert report["trained_layers"]
    # The model from disk, in the stages' own processes: from features or pictures, and from pixels in the export.
    exported = json.loads((folder / "reports/export.json").read_text())
    for kind in formats:
        assert exported[kind]["same_as_evaluated"] >= 0.9
        if changes.get("train.head.type") not in ("knn", "tree", "forest"):  # there a vote may move as a whole
            assert exported[kind]["within"] <= (0.5 if kind == "litert_int8" else 1e-4)
    assert {FORMATS[kind].file for kind in formats} | {"classes.json", "MODEL_CARD.md"} == {
        path.name for path in (folder / "exports").iterdir()
    }
    if changes.get("train.calibration") == "none":
        assert (report["temperature"], figures["log_loss"]) == (1, figures["uncalibrated_log_loss"])
    changed = run("git", "status", "--porcelain", "--untracked-files=all", cwd=folder).stdout.split()
    assert changed == ["M", "dvc.lock", "M", "params.yaml"]
    assert repro(folder) == []
