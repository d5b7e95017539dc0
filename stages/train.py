"""Train a head on the features of the frozen backbone, or fine-tune its last layers with it; keep the best epoch, and
calibrate it on validation.

Reads   data/features, reports/extract.json; data/split and data/augmented where pixels are trained on
Writes  models/ (see common/classifier.py), reports/history.csv (one row an epoch, or a value of a
        classical head's knob), reports/train.json
Params  base.seed, train
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from stages.common import hardware, tracking
from stages.common.classifier import BACKBONE, Classifier, digest
from stages.common.errors import StageError
from stages.common.files import whole_folder, write_csv, write_json
from stages.common.inputs import Features, Inputs
from stages.common.params import Base
from stages.common.paths import EXTRACT_REPORT, FEATURES, HISTORY, MODELS, TRAIN_REPORT
from stages.common.stage import run
from stages.common.train_params import Descent, FineTune, Head


class Params(Descent):
    """Section `train` of params.yaml."""

    mode: Literal["head", "fine_tune"]
    head: Head
    fine_tune: FineTune = Field(default_factory=lambda: FineTune.model_validate({}))

    @model_validator(mode="after")
    def _together(self) -> "Params":
        if self.mode == "fine_tune" and self.head.type != "dense":
            raise ValueError(f"mode fine_tune needs a head of type dense: {self.head.type} has no gradient")
        if self.label_smoothing and self.head.type != "dense":
            raise ValueError(f"label_smoothing is for a head of type dense, not for {self.head.type}")
        return self


def main(base: Base, params: Params) -> None:
    """Train inside one MLflow run, and write the model whole."""
    extracted = json.loads(EXTRACT_REPORT.read_text())
    if extracted["backbone"] is None:
        raise StageError(f"train.mode {params.mode} needs a network, but extract.backbone is null: name one there.")
    with tracking.training_run() as log:
        hardware.prepare(base.seed)
        from stages.common import calibration, training

        with whole_folder(MODELS) as folder:
            kind = {"head": on_features, "fine_tune": fine_tune}[params.mode]
            model, history, more = kind(params, extracted, base.seed, folder, log)
            val = model.inputs("val")
            logits, labels = model.logits(val), val.numbers(model.classes)
            model.settings["temperature"] = calibration.fit_temperature(logits, labels)
            model.save(folder)
        epochs, best = len(history["loss"]), training.best(history)
        write_csv(HISTORY, ("epoch", *history), zip(range(1, epochs + 1), *history.values(), strict=True))
        report = {
            "epochs": epochs,
            "best_epoch": best + 1,
            "best_val_loss": history["val_loss"][best],
            "best_val_accuracy": history["val_accuracy"][best],
            "final_val_accuracy": float((logits.argmax(axis=1) == labels).mean()),
            "final_val_log_loss": calibration.log_loss(logits / model.temperature, labels),
            "temperature": model.temperature,
            "head_parameters": model.head.count_params(),
            "model_sha256": digest(MODELS),
        }
        write_json(TRAIN_REPORT, report | more)
    print(f"train: best epoch {best + 1} of {epochs}, accuracy {report['final_val_accuracy']:.4f} on val")


Trained = tuple[Classifier, dict[str, list[float]], dict[str, Any]]  # the model, its history, what the report adds


def on_features(params: Params, extracted: dict[str, Any], seed: int, folder: Path, log: tracking.Log) -> Trained:
    """Train a head on the features that there are; the network stays as it is."""
    train, val = (Features(FEATURES, part, extracted["layers"]) for part in ("train", "val"))
    classes = sorted(set(train.labels))
    settings, head, history = fit_head(params, train, val, classes, seed, log)
    said = {"backbone": extracted, "layers": extracted["layers"], "tuned": None, "head": settings}
    more = {"fitted": settings["fitted"]} if "fitted" in settings else {}
    said |= {"features": head.input_shape[1], "classes": classes}
    return Classifier(said, head, FEATURES / BACKBONE), history, more


def fit_head(
    params: Params, train: Inputs, val: Inputs, classes: list[str], seed: int, log: tracking.Log
) -> tuple[dict[str, Any], Any, dict[str, list[float]]]:
    """Train a head of any type.

    Returns:
        Its settings, the head (features to logits) as it was best on val, and what each epoch came to, or for a
        classical head each value of its knob: loss, accuracy, val_loss, val_accuracy.
    """
    from stages.common import batches, classical, heads, training

    weights = params.weights_of(train.numbers(classes), len(classes))
    if params.head.type != "dense":
        return classical.fit(params.head, train, val, classes, weights, seed, log)
    settings = params.head.model_dump(by_alias=True)
    head = heads.build(settings, train.rows(slice(0, 1)).shape[1], len(classes))
    heads.fit_scale(head, train)
    shuffled = batches.Batches(train, classes, params.batch_size, seed, weights)
    ordered = batches.Batches(val, classes, batches.VAL_BATCH)
    history = training.fit(head, shuffled, ordered, params, log)
    training.require_number(history, params.learning_rate)
    return settings, head, history


def fine_tune(params: Params, extracted: dict[str, Any], seed: int, folder: Path, log: tracking.Log) -> Trained:
    """Warm up a head, then train the last layers of the network with it."""
    from stages.common import fine_tuning

    said, head, history, more = fine_tuning.fit(params.fine_tune, params.head, params, extracted, seed, folder, log)
    return Classifier({"backbone": extracted} | said, head, folder / BACKBONE), history, more


if __name__ == "__main__":
    run("train", main)
