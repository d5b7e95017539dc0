"""Train a head on the features of the frozen backbone, keep the best epoch, and calibrate it on validation.

Reads   data/features, reports/extract.json
Writes  models/ (see common/classifier.py), reports/history.csv (one row an epoch), reports/train.json
Params  base.seed, train
"""

import json
import sys
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from stages.common import hardware, tracking
from stages.common.classifier import BACKBONE, Classifier, digest
from stages.common.errors import StageError
from stages.common.features import Features
from stages.common.files import whole_folder, write_csv, write_json
from stages.common.params import Base, Section
from stages.common.paths import EXTRACT_REPORT, FEATURES, HISTORY, MODELS, TRAIN_REPORT
from stages.common.stage import run


class DenseHead(Section):
    """`train.head`: hidden dense layers with relu and dropout."""

    type: Literal["dense"]
    hidden: list[Annotated[int, Field(ge=1)]]
    dropout: float = Field(ge=0, lt=1)


class Params(Section):
    """Section `train` of params.yaml."""

    mode: Literal["head"]
    head: DenseHead
    epochs: int = Field(ge=1)
    patience: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"]
    learning_rate: float = Field(gt=0)


def main(base: Base, params: Params) -> None:
    """Train inside one MLflow run, and write the model whole."""
    extracted = json.loads(EXTRACT_REPORT.read_text())
    if extracted["backbone"] is None:
        raise StageError("train.mode head needs features, but extract.backbone is null: name a network there.")
    train, val = (Features(FEATURES, part, extracted["layers"]) for part in ("train", "val"))
    classes = sorted(set(train.labels))
    with tracking.training_run() as log:
        hardware.prepare(base.seed)
        head, history = fit(params, train, val, classes, base.seed, log)
        logits = head.predict(val.rows(), batch_size=512, verbose=0)
        temperature = fit_temperature(logits, val.numbers(classes))
        model = Classifier(head, params.head.model_dump(), extracted, FEATURES / BACKBONE, classes, temperature)
        with whole_folder(MODELS) as folder:
            model.save(folder)
        epochs = len(history["loss"])
        write_csv(HISTORY, ("epoch", *history), zip(range(1, epochs + 1), *history.values(), strict=True))
        best = int(np.argmin(history["val_loss"]))
        report = {
            "epochs": epochs,
            "best_epoch": best + 1,
            "best_val_loss": history["val_loss"][best],
            "best_val_accuracy": history["val_accuracy"][best],
            "temperature": temperature,
            "parameters": head.count_params(),
            "model_sha256": digest(MODELS),
        }
        write_json(TRAIN_REPORT, report)
    print(f"train: best epoch {best + 1} of {epochs}, accuracy {report['best_val_accuracy']:.4f} on val")


def fit(
    params: Params, train: Features, val: Features, classes: list[str], seed: int, log: tracking.Log
) -> tuple[Any, dict[str, list[float]]]:
    """Train a head until the validation loss no longer falls.

    Returns:
        The head with the weights of its best epoch, and what each epoch came to: loss, accuracy, val_loss and
        val_accuracy.
    """
    import keras

    from stages.common import heads

    features = train.rows(slice(0, 1)).shape[1]
    head = heads.build(params.head.model_dump(), features, len(classes))
    heads.fit_scale(head, train)
    head.compile(
        optimizer=keras.optimizers.get(
            {"class_name": params.optimizer, "config": {"learning_rate": params.learning_rate}}
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = head.fit(
        heads.Batches(train, classes, params.batch_size, seed),
        validation_data=(val.rows(), val.numbers(classes)),
        validation_batch_size=512,
        epochs=params.epochs,
        verbose=1 if sys.stdout.isatty() else 2,  # a bar on a terminal, a line an epoch in a log
        callbacks=[
            keras.callbacks.EarlyStopping("val_loss", patience=params.patience, restore_best_weights=True),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: log(epoch + 1, dict(logs))),
        ],
    ).history
    return head, {name: [float(value) for value in values] for name, values in sorted(history.items())}


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature by which logits are divided, chosen for the lowest log loss on validation.

    Guo et al., On Calibration of Modern Neural Networks, 2017. Rounded, so that it is the same on every machine.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def log_loss(log_temperature: float) -> float:
        scaled = log_softmax(logits.astype(np.float64) / np.exp(log_temperature), axis=1)
        return float(-scaled[np.arange(len(labels)), labels].mean())

    return round(float(np.exp(minimize_scalar(log_loss, bounds=(-3, 3), method="bounded").x)), 4)


if __name__ == "__main__":
    run("train", main)
