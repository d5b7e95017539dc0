"""Train a head on the features of the frozen backbone, fine-tune the last layers of the backbone with it, or train a
network from scratch; keep one epoch, and calibrate the model on validation. A killed training resumes after its last
complete epoch.

Reads   data/features, data/split, data/augmented (their pixels only where they are trained on), reports/extract.json,
        reports/augment.json
Writes  models/ (see darkroom/core/model_spec.py), reports/history.csv (a row for each epoch, or for each value of a
        classical head's knob), reports/train.json, reports/model.txt (a table of the trained layers);
        outside the outputs: the training state in .cache/training, and TensorBoard's logs/ if enabled
Params  base.seed, train
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from darkroom.core import runtime
from darkroom.core.errors import UserError
from darkroom.core.files import whole_folder, write_csv, write_json, write_text
from darkroom.core.model_spec import BACKBONE, BackboneSpec, model_sha256
from darkroom.core.params import Base
from darkroom.core.paths import (
    AUGMENTED,
    EXTRACT_REPORT,
    FEATURES,
    HISTORY,
    MODEL_SUMMARY,
    MODELS,
    SPLIT,
    TRAIN_REPORT,
)
from darkroom.pipeline.script import run
from darkroom.tracking import live_run
from darkroom.train.params import Params

if TYPE_CHECKING:
    import numpy as np

    from darkroom.models.classifier import Classifier
    from darkroom.train.loop import Session
    from darkroom.train.result import History, Result


def main(base: Base, params: Params) -> None:
    """Train within one MLflow run, and write the model."""
    backbone = BackboneSpec.load(EXTRACT_REPORT)
    if backbone.name is None and params.mode != "scratch":
        raise UserError(f"train.mode {params.mode} needs a network, but extract.backbone is null: name one there.")
    live = live_run.LiveRun()
    runtime.prepare(base.seed, params.log_devices)
    from darkroom.train import calibration, checkpoints, loop
    from darkroom.train.history import kept_epoch

    state = checkpoints.folder({"seed": base.seed, **params.state_key()}, inputs(params))
    with (
        runtime.device_scope(params.strategy, params.device),
        FileLock(state / "lock"),  # a second process with the same training waits, and then finds it done
        live.open(state / "run") as log,
    ):
        with whole_folder(MODELS) as folder:
            model, history, details = train(params, backbone, loop.Session(base.seed, state, log), folder)
            val = model.inputs("val")
            logits, labels, top = model.logits(val), val.numbers(model.spec.classes), model.top
            epoch = 1 + kept_epoch(history, params.keep if params.by_descent else "best")
            temperature = calibration.fit_temperature(logits, labels) if params.calibration == "temperature" else 1.0
            model = replace(model, spec=model.spec.model_copy(update={"temperature": temperature, "epoch": epoch}))
            model.save(folder)
        epochs = len(history["loss"])
        write_csv(HISTORY, ("epoch", *history), zip(range(1, epochs + 1), *history.values(), strict=True))
        write_text(MODEL_SUMMARY, loop.summary(top))
        report = summary(params, model, history, logits, labels)
        write_json(TRAIN_REPORT, report | details)
    print(f"train: epoch {epoch} of {epochs}, accuracy {report['final_val_accuracy']:.4f} on val")


def summary(
    params: Params, model: "Classifier", history: "History", logits: "np.ndarray", labels: "np.ndarray"
) -> dict[str, Any]:
    """The part of reports/train.json that all modes have.

    Args:
        params: section `train`.
        model: the trained model.
        history: figures of all epochs.
        logits: of the validation pictures (pictures, classes), before calibration.
        labels: their class numbers (pictures,).
    """
    from darkroom.train.calibration import log_loss
    from darkroom.train.history import best_epoch

    best, temperature = best_epoch(history), model.spec.temperature
    return {
        "epochs": len(history["loss"]),
        "best_epoch": best + 1,
        "best_val_loss": history["val_loss"][best],
        "best_val_accuracy": history["val_accuracy"][best],
        "kept_epoch": model.spec.epoch,
        "final_val_accuracy": float((logits.argmax(axis=1) == labels).mean()),
        "final_val_log_loss": log_loss(logits / temperature, labels),
        "temperature": temperature,
        "head_parameters": model.head.count_params(),
        "model_sha256": model_sha256(MODELS),
        "params": params.reported(),
    }


def inputs(params: Params) -> list[Path]:
    """The files and folders that a training depends on."""
    pixels = [] if params.mode == "head" and not params.teacher else [SPLIT / "train", SPLIT / "val", AUGMENTED]
    if params.teacher:
        pixels.append(Path(params.teacher))
    return [EXTRACT_REPORT, FEATURES / BACKBONE, *FEATURES.glob("train.*"), *FEATURES.glob("val.*"), *pixels]


def train(params: Params, backbone: BackboneSpec, session: "Session", folder: Path) -> "Result":
    """Train in the mode that `params.mode` names; fine-tuning writes the backbone's weights to `folder`."""
    from darkroom.train import features, fine_tuning, scratch

    if params.mode == "scratch":
        return scratch.fit(params, session)
    if params.mode == "fine_tune":
        return fine_tuning.fit(params, backbone, session, folder)
    return features.fit(params, backbone, session)


if __name__ == "__main__":
    run("train", main)
