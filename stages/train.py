"""Train a head on the features of the frozen backbone, fine-tune the last layers of the backbone with it, or train a
network from scratch; keep an epoch, and calibrate it on validation. A training that was killed resumes after its last
complete epoch.

Reads   data/features, reports/extract.json; data/split and data/augmented where pixels are trained on
Writes  models/ (see darkroom/core/model_spec.py), reports/history.csv (a row for each epoch, or for each value of a
        classical head's knob), reports/train.json, reports/model.txt (a table of the layers that are trained);
        outside the outputs: the training state in .cache/training, and logs/ for TensorBoard if it is on
Params  base.seed, train
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

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
from darkroom.tracking import pipeline_log
from darkroom.train.params import Params

if TYPE_CHECKING:
    from darkroom.train.loop import Session
    from darkroom.train.result import Result


def main(base: Base, params: Params) -> None:
    """Train within one MLflow run, and write the model."""
    backbone = BackboneSpec.model_validate_json(EXTRACT_REPORT.read_bytes())
    if backbone.name is None and params.mode != "scratch":
        raise UserError(f"train.mode {params.mode} needs a network, but extract.backbone is null: name one there.")
    runtime.prepare(base.seed, params.log_devices)
    from darkroom.train import calibration, checkpoints, loop

    state = checkpoints.folder({"seed": base.seed, **params.decisive()}, inputs(params))
    with (
        runtime.placed(params.strategy, params.device),
        FileLock(state / "lock"),  # whoever trains the same at the same time waits, and then finds it done
        pipeline_log.training_run(state / "run") as log,
    ):
        with whole_folder(MODELS) as folder:
            model, history, additions = train(params, backbone, loop.Session(base.seed, state, log), folder)
            val = model.inputs("val")
            logits, labels, top = model.logits(val), val.numbers(model.spec.classes), model.top
            classical = params.mode == "head" and params.head.type != "dense"  # whose rows are no epochs
            kept = loop.kept(history, "best" if classical else params.keep)
            temperature = calibration.fit_temperature(logits, labels) if params.calibration == "temperature" else 1.0
            spec = model.spec.model_copy(update={"temperature": temperature, "epoch": kept + 1})
            replace(model, spec=spec).save(folder)
        epochs, best = len(history["loss"]), loop.best(history)
        write_csv(HISTORY, ("epoch", *history), zip(range(1, epochs + 1), *history.values(), strict=True))
        write_text(MODEL_SUMMARY, loop.summary(top))
        report = {
            "epochs": epochs,
            "best_epoch": best + 1,
            "best_val_loss": history["val_loss"][best],
            "best_val_accuracy": history["val_accuracy"][best],
            "kept_epoch": kept + 1,
            "final_val_accuracy": float((logits.argmax(axis=1) == labels).mean()),
            "final_val_log_loss": calibration.log_loss(logits / temperature, labels),
            "temperature": temperature,
            "head_parameters": model.head.count_params(),
            "model_sha256": model_sha256(MODELS),
            "params": params.relevant(),
        }
        write_json(TRAIN_REPORT, report | additions)
    print(f"train: epoch {kept + 1} of {epochs}, accuracy {report['final_val_accuracy']:.4f} on val")


def inputs(params: Params) -> list[Path]:
    """The files and folders that a training depends on."""
    pixels = [] if params.mode == "head" else [SPLIT / "train", SPLIT / "val", AUGMENTED]
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
