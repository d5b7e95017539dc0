"""Every head, way to fine-tune, network from scratch, optimizer and schedule, on real pictures, in one process."""

import json

import numpy as np
import pytest

from darkroom.core.files import read_csv
from darkroom.inference.formats import FORMATS
from darkroom.models import heads, networks
from darkroom.pipeline.params import STAGES
from darkroom.train.optimizers import OPTIMIZERS
from tests.helpers.project import inside, set_params, trim, without
from tests.helpers.stages import run_stages

pytestmark = pytest.mark.usefixtures("tensorflow")

TRAINED = ["train", "evaluate", "export"]
EXTRACTED = ["extract", *TRAINED]
FINE = {"train.mode": "fine_tune", "train.epochs": 4, "train.fine_tune.epochs": 2}
MOBILE = {"extract.backbone": "MobileNetV2", "extract.weights": "random", "extract.layers": ["block_15_add"]}
SCRATCH = {  # in batches so small that batch norm sees enough of them to know its means
    "train.mode": "scratch", "train.epochs": 18, "train.batch_size": 16, "train.patience": None,
    "train.learning_rate": 0.001,
}  # fmt: skip
SHORT = {"train.epochs": 2, "train.fine_tune.epochs": 1}

# Name: changes of params.yaml, the stages to run, the least accuracy (chance is 0.1), and what runs all of it: `make
# test`, CI, or only `make test-full`; the others have a training of few epochs. The features at hand are those of
# VGG16's block3_pool, flat.
WHOLE, CI, BRIEF = [], [pytest.mark.full], [pytest.mark.full, pytest.mark.table]
# Modes that `make test` leaves to `make test-full`, since they take a minute each: tests/train has their parts.
LONG = ("reduced precision", "all", "batch norm", "new pixels", "compact_resnet", "small_resnet")
MODES = {
    "dense": ({"train.head.activation": "tanh", "train.head.batch_norm": True}, TRAINED, 0.5, BRIEF),
    "logistic": ({"train.head.type": "logistic", "train.calibration": "none"}, TRAINED, 0.6, BRIEF),
    "linear svm": ({"train.head.type": "linear_svm", "train.class_weights": "balanced"}, TRAINED, 0.6, BRIEF),
    "rbf svm": ({"train.head.type": "rbf_svm"}, TRAINED, 0.6, WHOLE),
    "k-nn": ({"train.head.type": "knn"}, TRAINED, 0.6, BRIEF),
    "tree": ({"train.head.type": "tree", "train.head.leaf": [2, 5]}, TRAINED, 0.35, BRIEF),
    "forest": ({"train.head.type": "forest", "train.head.trees": [30, 60]}, TRAINED, 0.6, BRIEF),
    "two layers, sigmoid": (
        {"download.classes": ["Bag", "Coat"], "extract.layers": ["block2_pool", "block4_pool"],
         "extract.pooling": "max", "train.head.output": "sigmoid"},
        [*STAGES], 0.8, BRIEF,
    ),
    "mirrored features": (
        {"train.head.type": "linear_svm", "extract.mirror": True, "extract.pooling": "avg"}, EXTRACTED, 0.5, BRIEF
    ),
    "block from the cut": ({**FINE, "train.fine_tune.unfreeze": "block4"}, TRAINED, 0.3, BRIEF),
    "layers from the cut": (
        {**FINE, "train.fine_tune.unfreeze": 2, "extract.layers": ["block5_conv1"], "train.schedule": "cosine"},
        EXTRACTED, 0.3, BRIEF,
    ),
    "reduced precision": (
        {**FINE, "train.fine_tune.unfreeze": "block4", "train.precision": "mixed_bfloat16"},
        TRAINED, 0.3, BRIEF,
    ),
    "batch norm": (
        {**MOBILE, **FINE, "train.fine_tune.unfreeze": "block_16", "train.optimizer": "adamw",
         "train.schedule": "plateau"},
        EXTRACTED, 0.05, BRIEF,  # random weights: it runs, no more
    ),
    "all": (
        {**FINE, "train.fine_tune.unfreeze": "all", "extract.layers": ["block5_pool"], "extract.pooling": "avg",
         "train.optimizer": "rmsprop"},
        EXTRACTED, 0.3, BRIEF,
    ),
    "new pixels": (
        {**FINE, "train.fine_tune.unfreeze": "block4", "train.fine_tune.online": {"preset": "tutorial"},
         "train.fine_tune.mixup": 0.2, "train.fine_tune.cutmix": 0.5, "train.label_smoothing": 0.1,
         "train.optimizer": "sgd", "train.momentum": 0.9, "train.nesterov": True, "train.fine_tune.learning_rate": 1e-4,
         "train.learning_rate": 0.01},
        TRAINED, 0.3, BRIEF,
    ),
    "fashion_cnn": (
        {**SCRATCH, "train.network": "fashion_cnn", "train.scratch.image_size": [28, 28], "train.optimizer": "sgd",
         "train.momentum": 0.9, "train.nesterov": True, "train.learning_rate": 0.01, "train.schedule": "cosine",
         "train.precision": "float32", "train.device": "cpu:0"},
        TRAINED, 0.5, CI,
    ),
    "mnist_cnn": (
        {**SCRATCH, "train.network": "mnist_cnn", "train.scratch.image_size": [28, 28], "train.scratch.color": "grey",
         "train.steps": 120, "train.validate_every": 20, "train.shuffle": False, "train.keep": "last",
         "train.learning_rate": 1e-4, "train.tensorboard": "activations"},
        TRAINED, 0.5, BRIEF,
    ),
    "mini_vggnet": (
        {**SCRATCH, "train.network": "mini_vggnet", "train.optimizer": "rmsprop", "train.schedule": "plateau",
         "train.scratch.online": {"preset": "none", "horizontal_flip": True, "width_shift": 0.1},
         "train.scratch.mixup": 0.2, "train.scratch.cutmix": 0.5},
        TRAINED, 0.3, BRIEF,
    ),
    "dense network": (
        {**SCRATCH, "train.network": "dense", "train.optimizer": "adamw", "train.weight_decay": 0.01,
         "train.scratch.activation": "tanh", "train.strategy": "mirrored"},
        TRAINED, 0.5, BRIEF,
    ),
    "compact_resnet": (
        {**SCRATCH, "extract.backbone": None, "train.network": "compact_resnet", "train.schedule": "cosine",
         "train.warmup_epochs": 2, "train.ema": 0.9, "train.scratch.image_size": [28, 28], "train.scratch.filters": 16,
         "train.scratch.stochastic_depth": 0.1, "train.scratch.mirror": True,
         "train.scratch.online": {"preset": "trivial_augment"}},
        EXTRACTED, 0.4, BRIEF,
    ),
    "small_resnet": (
        {**SCRATCH, "extract.backbone": None, "train.network": "small_resnet", "train.checkpoints": "all",
         "train.keep": 18, "train.label_smoothing": 0.1, "train.class_weights": "balanced"},
        EXTRACTED, 0.4, BRIEF,
    ),
}  # fmt: skip


# Weights of 8 bits move votes of trees and neighbours, and a network trained for seconds is seldom sure: there, whether
# nine labels in ten stay the same depends on single pictures. tests/inference/test_formats.py has such heads in 8 bits.
NOT_IN_8_BITS = ("k-nn", "tree", "forest", "mini_vggnet")


def formats_of(name):
    """Two that differ from the next mode's: by turns all of them, for each kind of training."""
    kinds, turn = list(FORMATS), list(MODES).index(name)
    chosen = [kinds[turn % len(kinds)], kinds[(turn + 2) % len(kinds)]]
    return [kind for kind in chosen if kind != "litert_int8" or name not in NOT_IN_8_BITS]


@pytest.fixture
def folder(project, tmp_path):
    """The small project as the current folder, without what DVC keeps."""
    with inside(project, tmp_path / "copy", without(project, ".dvc/cache", "mlflow.db", "mlartifacts")) as copy:
        set_params(copy, {"evaluate.bootstrap": 100, "evaluate.label_issues": 0})
        yield copy


@pytest.fixture(scope="module")
def few(project, tensorflow, tmp_path_factory):
    """The small project with five pictures of each class in each split, and their features."""
    left_out = without(project, ".git", ".dvc/cache", "mlflow.db", "mlartifacts", "data/raw", "exports")
    with inside(project, tmp_path_factory.mktemp("few") / "copy", left_out) as copy:
        trim(copy, pictures=5)
        set_params(copy, {"train.head.C": [1.0, 10.0]})
        run_stages(["extract"])
    return copy


@pytest.fixture
def few_copy(few, tmp_path):
    """A copy of it as the current folder."""
    with inside(few, tmp_path / "copy") as copy:
        yield copy


def check_training(folder, changes):
    """The history and the report agree with each other and with the params."""
    report = json.loads((folder / "reports/train.json").read_text())
    history = read_csv(folder / "reports/history.csv")
    assert len(history) == report["epochs"]
    assert report["kept_epoch"] == {"best": report["best_epoch"], "last": report["epochs"]}.get(
        changes.get("train.keep", "best"), changes.get("train.keep")
    )
    assert report["best_val_loss"] == min(float(row["val_loss"]) for row in history)
    if changes.get("train.mode") == "fine_tune":
        assert len(history) == report["warm_up_epochs"] + changes["train.fine_tune.epochs"]
        assert report["trained_layers"]
    return report


@pytest.mark.parametrize("name", [pytest.param(name, marks=mode[-1]) for name, mode in MODES.items()])
def test_a_mode_runs_whole(folder, name):
    changes, stages, least, _ = MODES[name]
    formats = formats_of(name)
    set_params(folder, changes | {"export.formats": formats})
    run_stages(stages)
    report = check_training(folder, changes)
    metrics = json.loads((folder / "reports/metrics.json").read_text())
    assert metrics["accuracy"] >= least
    assert np.isfinite(metrics["log_loss"])
    # The model from disk: the evaluation from features or pictures, the export from pixels.
    exported = json.loads((folder / "reports/export.json").read_text())
    precision = json.loads((folder / "reports/extract.json").read_text()).get("precision")
    for kind in formats:
        if (
            precision == "float32" or changes.get("train.mode") == "scratch"
        ):  # else the evaluation's features are rounded
            assert exported[kind]["same_as_evaluated"] >= 0.9
        if not heads.counts_votes(changes.get("train.head.type", "dense")):  # a vote may move as a whole
            assert exported[kind]["within"] <= (0.5 if kind == "litert_int8" else 1e-4)
    assert {FORMATS[kind].file for kind in formats} | {"classes.json", "MODEL_CARD.md", "SHA256SUMS"} == {
        path.name for path in (folder / "exports").iterdir()
    }
    if changes.get("train.calibration") == "none":
        assert (report["temperature"], metrics["log_loss"]) == (1, metrics["uncalibrated_log_loss"])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.full, pytest.mark.table] if name in LONG else [])
        for name, mode in MODES.items()
        if mode[-1] != WHOLE
    ],
)
def test_a_mode_trains(few_copy, name):
    """A few epochs, so that `make test` has each head, way to fine-tune, network, optimizer and schedule."""
    changes, stages, *_ = MODES[name]
    changes = changes | {key: value for key, value in SHORT.items() if key in changes}
    if "train.keep" in changes and changes["train.keep"] != "last":
        changes["train.keep"] = 2
    if "train.steps" in changes:
        changes |= {"train.steps": 20, "train.validate_every": 10}
    if "download.classes" in changes:
        trim(few_copy, changes.pop("download.classes"))
    set_params(few_copy, changes)
    run_stages(["extract", "train"] if "extract" in stages else ["train"])
    check_training(few_copy, changes)


def test_the_modes_have_every_choice():
    rows = [mode[0] for mode in MODES.values()]
    values = {
        key: {row.get(f"train.{key}") for row in rows} for key in ("head.type", "network", "optimizer", "schedule")
    }
    assert values["head.type"] >= set(heads.registered()) - {"dense"}
    assert values["network"] >= set(networks.names())
    assert values["optimizer"] >= set(OPTIMIZERS) - {"adam"}
    assert values["schedule"] >= {"cosine", "plateau"}
