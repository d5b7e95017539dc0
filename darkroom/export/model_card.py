"""The model card: what a model is, its training data, its metrics, its weaknesses, and how to use it.

The sections follow Mitchell et al., Model Cards for Model Reporting, 2019.
"""

import importlib.metadata
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from darkroom.core import paths, reports
from darkroom.core.hashing import folder_sha256, listing_md5
from darkroom.core.markdown import escaped
from darkroom.core.metric_table import METRICS, UNCALIBRATED, Estimate
from darkroom.core.model_spec import BackboneSpec, ModelSpec, model_sha256
from darkroom.images.folders import PARTS
from darkroom.inference.formats import FORMATS
from darkroom.models import heads
from darkroom.models.classifier import Classifier
from darkroom.models.heads.base import Classical

TEMPLATE = Path(__file__).with_name("model_card.md")
SHOWN = 5  # worst classes, and most frequent mistakes
LIBRARIES = ("tensorflow", "keras", "numpy", "pillow", "scikit-learn", "onnxruntime", "tf2onnx", "ai-edge-litert")
OXFORD = ("VGG16", "VGG19")


def render(model: Classifier, formats: Mapping[str, Mapping[str, Any]]) -> str:
    """The card as Markdown, from the reports of all stages.

    Args:
        model: the model to describe.
        formats: the report of each exported format (see `parity.report`), with its size in `bytes`.
    """
    environment = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - Markdown, not HTML; names go through `escaped`
    )
    environment.filters |= {"text": escaped, "plain": plain, "four": lambda value: f"{value:.4f}"}
    spec, dataset, metrics, split = model.spec, reports.dataset(), reports.metrics(), reports.split()
    parts = Counter((row["split"], row["class"]) for row in split)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        model=spec,
        mode=spec.mode,
        head=head_settings(spec),
        classical=_is_classical(spec),
        credit=credit(spec.backbone),
        dataset=dataset,
        reasons=Counter(_general(dropped["reason"]) for dropped in dataset["dropped"]).most_common(),
        counts=[(name, *(parts[part, name] for part in PARTS)) for name in spec.classes],
        augmented=reports.augmentation(),
        trained=reports.training(),
        metrics=metrics,
        estimates=[(metric.label, Estimate.of(metrics, metric.key)) for metric in METRICS if metric.key in metrics],
        calibrated=[
            (metric.label, metrics[UNCALIBRATED + metric.key], metrics[metric.key])
            for metric in METRICS
            if metric.calibration and UNCALIBRATED + metric.key in metrics
        ],
        worst=worst(reports.per_class()),
        confusions=confusions(reports.predictions()),
        formats=formats,
        files={name: FORMATS[name].file for name in FORMATS},
        libraries=[(name, importlib.metadata.version(name)) for name in LIBRARIES],
        model_sha256=model_sha256(paths.MODELS),
        data_sha256=folder_sha256(paths.SPLIT),
        split_md5=listing_md5({row["picture"]: row["md5"] for row in split}),
    )


def plain(value: Any) -> str:
    """A setting's value for people."""
    if isinstance(value, Mapping):
        return escaped(", ".join(f"{name} {plain(inner)}" for name, inner in value.items()))
    if isinstance(value, list | tuple):
        return ", ".join(plain(inner) for inner in value) or "none"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return escaped(value)


def head_settings(spec: ModelSpec) -> list[tuple[str, Any]]:
    """Names and values of the settings of a head, or of a network trained from scratch."""
    settings = spec.head
    if spec.mode == "scratch":
        return [(name, settings[name]) for name in ("name", "image_size", "color", "activation")]
    head = heads.registered()[spec.head_type]
    steps = head.prepare if settings["prepare"] is None else settings["prepare"]
    if isinstance(head, Classical):
        values = {head.knob: settings["fitted"][head.knob]}
    else:
        values = {name: settings[name] for name in head.settings.model_fields}
    return [("type", head.name), ("prepare", steps), *values.items()]


def credit(backbone: BackboneSpec) -> str:
    """Where the initial weights come from, and their licence."""
    name, weights = backbone.name, backbone.weights
    if name is None or weights == "random":
        return "None: training started from random weights."
    if weights != "imagenet":
        return f"The initial weights are those of `{weights}`, an earlier model: its terms apply."
    if name in OXFORD:
        return (
            f"{name} with ImageNet weights: Karen Simonyan and Andrew Zisserman, Very Deep Convolutional Networks for "
            "Large-Scale Image Recognition, 2014; Visual Geometry Group, University of Oxford, CC BY 4.0."
        )
    return (
        f"{name} with ImageNet weights from Keras Applications; for the licence see https://keras.io/api/applications."
    )


def worst(per_class: list[dict[str, str]]) -> list[dict[str, str]]:
    """The classes with the lowest F1, among those with test pictures."""
    tested = [row for row in per_class if int(row["support"])]
    return sorted(tested, key=lambda row: (float(row["f1"]), row["class"]))[:SHOWN]


def confusions(predictions: list[dict[str, str]]) -> list[tuple[str, str, int]]:
    """The most frequent mistakes: label, prediction and count."""
    wrong = Counter((row["label"], row["predicted"]) for row in predictions if row["label"] != row["predicted"])
    in_order = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
    return [(label, predicted, count) for (label, predicted), count in in_order[:SHOWN]]


def _is_classical(spec: ModelSpec) -> bool:
    return spec.mode == "head" and isinstance(heads.registered()[spec.head_type], Classical)


def _general(reason: str) -> str:
    """A reason without the sizes, names and notes of the single picture, so that equal reasons are counted together."""
    return re.sub(r"\d[\d,]*", "…", re.split(r" \(| as \S+/", reason)[0])
