"""Small trainings and their settings, for tests of several rooms. Call them with TensorFlow set up."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from darkroom.core.model_spec import BackboneSpec, ModelSpec
from darkroom.core.params import Base
from darkroom.core.yaml import read_yaml
from darkroom.extract.params import Params as ExtractParams
from darkroom.train.params import Descent, Params
from tests.helpers.pictures import CLASSES
from tests.helpers.project import ROOT

FAST = {"patience": 9, "batch_size": 16, "optimizer": "adam", "learning_rate": 0.001}


def session(seed: int = 1, log: Any = lambda *_: None) -> Any:
    """What a training needs besides data, with a state folder of its own, which no other training finds."""
    from darkroom.train.loop import Session

    folder = tempfile.mkdtemp(prefix="darkroom-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Session(seed, Path(folder), log)


def descent(**changes: Any) -> Descent:
    """Settings of gradient descent."""
    small = {"epochs": 4, "patience": 5, "batch_size": 32, "learning_rate": 0.001, "precision": "float32"}
    return Descent(**{**small, **changes})


def head_params(**changes: Any) -> Params:
    """Section `train` for a small head; `head` holds changes of its own section."""
    head = {"type": "dense", "hidden": [32], "dropout": 0.2, **changes.pop("head", {})}
    small = {"mode": "head", "head": head, "epochs": 4, "patience": 5, "batch_size": 32, "optimizer": "adam"}
    return Params(**{**small, "learning_rate": 0.001, **changes})


def scratch_params(**changes: Any) -> Params:
    """Section `train` for fashion_cnn, which has batch norm and dropout, on small pictures; `scratch` as in params."""
    scratch = {"image_size": [28, 28], "color": "grey", **changes.pop("scratch", {})}
    small = {
        "mode": "scratch",
        "network": "fashion_cnn",
        "scratch": scratch,
        "epochs": 3,
        **FAST,
        "patience": None,
        "precision": "float32",
    }
    return Params(**{**small, "learning_rate": 1e-4, **changes})


def extracted(**changes: Any) -> BackboneSpec:
    """Run the stage `extract` on the current folder's splits, in float32 so that nothing but rounding differs."""
    from stages import extract

    section = read_yaml(ROOT / "params.yaml")["extract"]
    small = {"image_size": [32, 32], "layers": ["block3_pool"], "pooling": "flatten", "precision": "float32"}
    extract.main(Base(seed=1), ExtractParams(**{**section, **small, **changes}))
    return BackboneSpec.load(Path("reports/extract.json"))


def tuned(backbone: BackboneSpec, folder: Path, seed: int = 1, **changes: Any) -> Any:
    """Fine-tune on the current folder's features and save the model to `folder`: a `Result`."""
    from darkroom.core import runtime
    from darkroom.train import fine_tuning

    fine_tune = {"unfreeze": "block4", "epochs": 2, "learning_rate": 1e-5, "batch_size": 16}
    head = {"type": "dense", "hidden": [16], "dropout": 0.0}
    sections = {"fine_tune": fine_tune | changes.pop("fine_tune", {}), "head": head | changes.pop("head", {})}
    exact = {"precision": "float32"}  # on every CPU
    params = Params(**{"mode": "fine_tune", "epochs": 2, **exact, **FAST, **sections, **changes})
    runtime.prepare(seed)
    folder.mkdir(parents=True, exist_ok=True)
    result = fine_tuning.fit(params, backbone, session(seed), folder)
    result.model.save(folder)
    return result


def head_on_features(kind: str = "logistic", backbone: BackboneSpec | None = None, **changes: Any) -> Any:
    """A head of a type on the features of `backbone`, or else extracted with the changes: a `Classifier`."""
    from darkroom.train import features

    backbone = backbone or extracted(**changes)
    head = {"type": kind, "hidden": [16], "dropout": 0.0, "C": [3.0], "neighbours": [5], "leaf": [5], "trees": [10]}
    return features.fit(Params(mode="head", head=head, epochs=5, **FAST), backbone, session()).model


def from_scratch(work: Any, **changes: Any) -> Any:
    """Train a network on the pictures of the current folder's splits (see `scratch_params`): a `Result`."""
    from darkroom.core import runtime
    from darkroom.train import scratch

    runtime.prepare(work.seed)
    return scratch.fit(scratch_params(**changes), work)


def weights_bytes(model: Any) -> bytes:
    """The weights of a classifier's head, or of its network from scratch."""
    return b"".join(array.tobytes() for array in model.head.get_weights())


def untrained(
    name: str, classes: list[str] = CLASSES, color: str = "grey", size: tuple[int, int] = (28, 28), seed: int = 3
) -> Any:
    """A network with random weights: a `Classifier`."""
    import keras

    from darkroom.models import networks
    from darkroom.models.classifier import Classifier

    keras.utils.set_random_seed(seed)
    settings = {"name": name, "image_size": list(size), "color": color, "activation": None}
    return Classifier(model_spec(settings, classes), networks.build(settings, len(classes)), None)


def model_spec(head: dict[str, Any], classes: list[str] = CLASSES, **changes: Any) -> ModelSpec:
    """The specification of a network from scratch with these settings, apart from the changes."""
    if "backbone" not in changes:
        changes["backbone"] = BackboneSpec(backbone=None, image_size=tuple(head["image_size"]))
    common = {"layers": (), "tuned": None, "features": None, "temperature": 1.0, "epoch": 1}
    return ModelSpec(**{"head": head, "classes": tuple(classes), **common, **changes})


def small_features(project: Path, labels: list[str] | None = None) -> tuple[Any, Any, list[str]]:
    """Every eighth training and validation feature of the small project, of all classes or some; and the classes."""
    import numpy as np

    from darkroom.models.inputs import Features, Held

    result = []
    for part in ("train", "val"):
        inputs = Features(project / "data/features", part, ["block3_pool"])
        classes = labels or sorted(set(inputs.labels))
        rows = np.flatnonzero(np.isin(inputs.labels, classes))
        result.append(Held(np.ascontiguousarray(inputs.rows(rows)[:, ::8]), inputs, rows))
    return (*result, classes)


def fitted_head(data: Any, seed: int = 1, log: Any = lambda *_: None, work: Any = None, **changes: Any) -> Any:
    """Train a small head (see `head_params`) on (train, val, classes): its settings, the head, and its history.

    `work` is the session, for one that goes on with a training.
    """
    from darkroom.core import runtime
    from darkroom.train.features import fit_head

    runtime.prepare(seed)
    return fit_head(head_params(**changes), *data, work or session(seed, log))


@functools.cache
def _keras_model() -> Any:
    import keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def epochs_by_keras(losses: list[float], callback: Any, rate: float = 0.01) -> list[float]:
    """The learning rate after each epoch with these validation losses that one of Keras' callbacks lets happen."""
    model = _keras_model()
    model.stop_training = False
    model.optimizer.learning_rate = rate
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, loss in enumerate(losses):
        callback.on_epoch_end(epoch, {"val_loss": loss})
        rates.append(float(model.optimizer.learning_rate))
        if model.stop_training:
            break
    return rates
