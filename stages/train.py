"""Train a head on the features of the frozen backbone, fine-tune its last layers with it, or train a network from
scratch; keep an epoch, and calibrate it on validation. A training that was killed goes on after its last whole epoch.

Reads   data/features, reports/extract.json; data/split and data/augmented where pixels are trained on
Writes  models/ (see common/models/classifier.py), reports/history.csv (one row an epoch, or a value of a
        classical head's knob), reports/train.json, reports/model.txt (a table of the layers that are trained);
        beside them, git-ignored: the state in .cache/training, and logs/ for TensorBoard where it is wanted
Params  base.seed, train
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from stages.common import hardware
from stages.common.errors import StageError
from stages.common.files import whole_folder, write_csv, write_json, write_text
from stages.common.models.classifier import BACKBONE, Classifier, digest
from stages.common.models.inputs import Features, Inputs, Pictures
from stages.common.params import Base
from stages.common.paths import (
    AUGMENTED,
    EXTRACT_REPORT,
    FEATURES,
    HISTORY,
    MODEL_SUMMARY,
    MODELS,
    SPLIT,
    TRAIN_REPORT,
)
from stages.common.pictures import listed
from stages.common.stage import run
from stages.common.tracking import tracking
from stages.common.training.train_params import Params

if TYPE_CHECKING:
    from stages.common.training.training import Session


def main(base: Base, params: Params) -> None:
    """Train inside one MLflow run, and write the model whole."""
    extracted = json.loads(EXTRACT_REPORT.read_text())
    if extracted["backbone"] is None and params.mode != "scratch":
        raise StageError(f"train.mode {params.mode} needs a network, but extract.backbone is null: name one there.")
    hardware.prepare(base.seed, params.log_devices)
    from stages.common.training import calibration, checkpoints, training

    pixels = [] if params.mode == "head" else [SPLIT / "train", SPLIT / "val", AUGMENTED]
    inputs = [EXTRACT_REPORT, FEATURES / BACKBONE, *FEATURES.glob("train.*"), *FEATURES.glob("val.*"), *pixels]
    known = params.model_dump(exclude={"keep", "log_devices", "calibration"}) | {
        "precision": hardware.precision(params.precision)
    }
    state = checkpoints.folder({"seed": base.seed, **known}, inputs)
    with (
        hardware.placed(params.strategy, params.device),
        FileLock(state / "lock"),  # whoever trains the same at the same time waits, and then finds it done
        tracking.training_run(state / "run") as log,
    ):
        with whole_folder(MODELS) as folder:
            kind = {"head": on_features, "fine_tune": fine_tune, "scratch": scratch}[params.mode]
            model, history, more = kind(params, extracted, training.Session(base.seed, state, log), folder)
            val = model.inputs("val")
            logits, labels = model.logits(val), val.numbers(model.classes)
            classical = params.mode == "head" and params.head.type != "dense"  # whose rows are no epochs
            kept = training.kept(history, "best" if classical else params.keep)
            temperature = calibration.fit_temperature(logits, labels) if params.calibration == "temperature" else 1.0
            model.settings.update(temperature=temperature, epoch=kept + 1)
            model.save(folder)
        epochs, best = len(history["loss"]), training.best(history)
        write_csv(HISTORY, ("epoch", *history), zip(range(1, epochs + 1), *history.values(), strict=True))
        write_text(MODEL_SUMMARY, training.summary(model.top))
        report = {
            "epochs": epochs,
            "best_epoch": best + 1,
            "best_val_loss": history["val_loss"][best],
            "best_val_accuracy": history["val_accuracy"][best],
            "kept_epoch": kept + 1,
            "final_val_accuracy": float((logits.argmax(axis=1) == labels).mean()),
            "final_val_log_loss": calibration.log_loss(logits / model.temperature, labels),
            "temperature": model.temperature,
            "head_parameters": model.head.count_params(),
            "model_sha256": digest(MODELS),
            "params": params.told(),
        }
        write_json(TRAIN_REPORT, report | more)
    print(f"train: epoch {kept + 1} of {epochs}, accuracy {report['final_val_accuracy']:.4f} on val")


Result = tuple[Classifier, dict[str, list[float]], dict[str, Any]]  # the model, its history, what the report adds


def on_features(params: Params, extracted: dict[str, Any], session: "Session", folder: Path) -> Result:
    """Train a head on the features that there are; the network stays as it is."""
    train, val = (Features(FEATURES, part, extracted["layers"]) for part in ("train", "val"))
    classes = sorted(set(train.labels))
    settings, head, history = fit_head(params, train, val, classes, session)
    said = {"backbone": extracted, "layers": extracted["layers"], "tuned": None, "head": settings}
    more = {"fitted": settings["fitted"]} if "fitted" in settings else {}
    said |= {"features": head.input_shape[1], "classes": classes}
    return Classifier(said, head, FEATURES / BACKBONE), history, more


def fit_head(
    params: Params, train: Inputs, val: Inputs, classes: list[str], session: "Session"
) -> tuple[dict[str, Any], Any, dict[str, list[float]]]:
    """Train a head of any type.

    Returns:
        Its settings, the head (features to logits) after the epoch that is kept, and what each epoch came to, or for a
        classical head each value of its knob: loss, accuracy, val_loss, val_accuracy.
    """
    from stages.common.models import heads
    from stages.common.training import batches, classical, training

    if params.head.type != "dense":
        weights = params.weights_of(train.numbers(classes), len(classes))
        return classical.fit(params.head, train, val, classes, weights, session.seed, session.log)
    settings = params.head.model_dump(by_alias=True)
    head = heads.build(settings, train.rows(slice(0, 1)).shape[1], len(classes))
    heads.fit_scale(head, train)
    shuffled = batches.Batches(train, classes, params, session.seed)
    trained = training.fit(head, shuffled, val, classes, params, session)
    trained.load(head, training.kept(trained.history, params.keep))
    return settings, head, trained.history


def fine_tune(params: Params, extracted: dict[str, Any], session: "Session", folder: Path) -> Result:
    """Warm up a head, then train the last layers of the network with it."""
    from stages.common.training import fine_tuning

    said, head, history, more = fine_tuning.fit(params.fine_tune, params.head, params, extracted, session, folder)
    return Classifier({"backbone": extracted} | said, head, folder / BACKBONE), history, more


def scratch(params: Params, extracted: dict[str, Any], session: "Session", folder: Path) -> Result:
    """Train a network from random weights on the pixels."""
    from stages.common.models import networks
    from stages.common.training import batches, training

    how, (height, width) = params.scratch, params.scratch.image_size
    train, val = (Pictures(listed(part), (height, width)).hold() for part in ("train", "val"))
    classes, precision = sorted(set(train.labels)), hardware.precision(params.precision)
    settings = {"name": params.network, **how.model_dump(include={"image_size", "color", "activation"})}
    network = networks.build(settings, len(classes), precision)
    changed = batches.ChangedPictures(train, classes, params, session.seed, how)
    trained = training.fit(network, changed, val, classes, params, session)
    trained.load(network, training.kept(trained.history, params.keep))
    plain = networks.build(settings, len(classes))  # in float32, as it is read from disk later
    plain.set_weights(network.get_weights())
    said: dict[str, Any] = {"backbone": {"backbone": None, "image_size": [height, width]}, "layers": [], "tuned": None}
    said |= {"head": settings, "features": None, "classes": classes}
    return Classifier(said, plain, None), trained.history, {"precision": precision}


if __name__ == "__main__":
    run("train", main)
