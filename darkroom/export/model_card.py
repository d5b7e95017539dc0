"""The model card: what a model is, what it learnt from, how good it is, where it is weak, and how it is used.

Mitchell et al., Model Cards for Model Reporting, 2019.
"""

import importlib.metadata
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from darkroom.core.files import read_csv
from darkroom.core.hashing import folder_md5, folder_sha256
from darkroom.core.model_spec import BackboneSpec, ModelSpec, model_sha256
from darkroom.core.paths import (
    AUGMENT_REPORT,
    DATASET_REPORT,
    METRICS,
    MODELS,
    PER_CLASS,
    PREDICTIONS,
    SPLIT,
    SPLIT_REPORT,
    TRAIN_REPORT,
)
from darkroom.images.folders import PARTS
from darkroom.inference.formats import FILES
from darkroom.models import heads
from darkroom.models.classifier import Classifier

TEMPLATE = Path(__file__).with_name("model_card.md")
SHOWN = 5  # worst classes, and confusions
LIBRARIES = ("tensorflow", "keras", "numpy", "pillow", "scikit-learn", "onnxruntime", "tf2onnx", "ai-edge-litert")
FIGURES = {
    "accuracy": "accuracy",
    "top_3_accuracy": "top-3 accuracy",
    "top_5_accuracy": "top-5 accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_precision": "macro precision",
    "macro_f1": "macro F1",
    "weighted_precision": "weighted precision",
    "weighted_recall": "weighted recall",
    "weighted_f1": "weighted F1",
    "roc_auc": "ROC AUC, one class against the rest",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error (ECE)",
}
DENSE = ("hidden", "activation", "batch_norm", "dropout", "output")
FITTED = ("C", "neighbours", "leaf", "trees")
CALIBRATED = ("log_loss", "brier", "ece")
OXFORD = ("VGG16", "VGG19")


def render(model: Classifier, formats: Mapping[str, Mapping[str, Any]]) -> str:
    """The card as Markdown, from what the stages wrote.

    Args:
        model: that is described.
        formats: what was found of each exported format (see stages/export.py).
    """
    environment = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - Markdown, not HTML; names go through `text`
    )
    environment.filters |= {"text": text, "said": said_plainly, "four": lambda value: f"{value:.4f}"}
    spec, dataset, metrics = model.spec, _json(DATASET_REPORT), _json(METRICS)
    parts = Counter((row["split"], row["class"]) for row in read_csv(SPLIT_REPORT))
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        model=spec,
        mode=spec.mode,
        head=head(spec),
        credit=credit(spec.backbone),
        dataset=dataset,
        reasons=Counter(_kind_of(dropped["reason"]) for dropped in dataset["dropped"]).most_common(),
        counts=[(name, *(parts[part, name] for part in PARTS)) for name in spec.classes],
        augmented=_json(AUGMENT_REPORT),
        trained=_json(TRAIN_REPORT),
        metrics=metrics,
        figures=[(title, name) for name, title in FIGURES.items() if name in metrics],
        calibrated=[(FIGURES[name], name) for name in CALIBRATED if f"uncalibrated_{name}" in metrics],
        worst=worst(read_csv(PER_CLASS)),
        confusions=confusions(read_csv(PREDICTIONS)),
        formats=formats,
        files=FILES,
        libraries=[(name, importlib.metadata.version(name)) for name in LIBRARIES],
        model_sha256=model_sha256(MODELS),
        data_sha256=folder_sha256(SPLIT),
        split_md5=folder_md5(SPLIT),
    )


def text(value: object) -> str:
    """A name as Markdown shows it, whatever characters it has: on one line, in a table too."""
    plain = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # An underscore between letters is one; all else that Markdown could take for markup is not.
    return re.sub(r"([\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", plain)


def said_plainly(value: Any) -> str:
    """A setting's value for people."""
    if isinstance(value, Mapping):
        return text(", ".join(f"{name} {said_plainly(one)}" for name, one in value.items()))
    if isinstance(value, list | tuple):
        return ", ".join(said_plainly(one) for one in value) or "none"
    return {None: "none", True: "yes", False: "no"}[value] if value is None or isinstance(value, bool) else text(value)


def head(spec: ModelSpec) -> list[tuple[str, Any]]:
    """The settings of a head, or of a network trained from scratch: a name and a value each."""
    if spec.mode == "scratch":
        return [(name, spec.head[name]) for name in ("name", "image_size", "color", "activation")]
    kind, settings = spec.head_type, spec.head
    prepared = heads.STEPS[kind] if settings["prepare"] is None else settings["prepare"]
    names = DENSE if kind == "dense" else [name for name in settings["fitted"] if name in FITTED]
    values = settings if kind == "dense" else settings["fitted"]
    return [("type", kind), ("prepare", prepared), *((name, values[name]) for name in names)]


def credit(backbone: BackboneSpec) -> str:
    """Whose weights the network began with, and under which licence they are."""
    name, weights = backbone.name, backbone.weights
    if name is None or weights == "random":
        return "None: training began with random weights."
    if weights != "imagenet":
        return f"The network's weights are those of `{weights}`, an earlier model: its terms apply."
    if name in OXFORD:
        return (
            f"{name} with ImageNet weights: Karen Simonyan and Andrew Zisserman, Very Deep Convolutional Networks for "
            "Large-Scale Image Recognition, 2014; Visual Geometry Group, University of Oxford, CC BY 4.0."
        )
    return (
        f"{name} with ImageNet weights of Keras Applications: see https://keras.io/api/applications for their licence."
    )


def worst(per_class: list[dict[str, str]]) -> list[dict[str, str]]:
    """The classes with the lowest F1, of those that the test split has."""
    tested = [row for row in per_class if int(row["support"])]
    return sorted(tested, key=lambda row: (float(row["f1"]), row["class"]))[:SHOWN]


def confusions(predictions: list[dict[str, str]]) -> list[tuple[str, str, int]]:
    """The most frequent mistakes: label, what was said instead, and how often."""
    wrong = Counter((row["label"], row["predicted"]) for row in predictions if row["label"] != row["predicted"])
    ordered = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
    return [(label, predicted, count) for (label, predicted), count in ordered[:SHOWN]]


def _kind_of(reason: str) -> str:
    """What reasons have in common: without the sizes, names and notes of the single picture."""
    return re.sub(r"\d[\d,]*", "…", re.split(r" \(| as \S+/", reason)[0])


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
