"""Mode `head`: train a head of any type on the features of the frozen backbone."""

from typing import Any

import keras

from darkroom.core.model_spec import BACKBONE, BackboneSpec, ModelSpec
from darkroom.core.paths import FEATURES
from darkroom.models import head_model
from darkroom.models.classifier import Classifier
from darkroom.models.heads.base import Classical
from darkroom.models.inputs import Features, Inputs
from darkroom.train import batches, classical, loop
from darkroom.train.history import kept_epoch
from darkroom.train.params import Params
from darkroom.train.result import History, Result


def fit(params: Params, backbone: BackboneSpec, session: loop.Session) -> Result:
    """Train a head on the extracted features; the backbone stays as it is."""
    train, val = (Features(FEATURES, part, backbone.layers) for part in ("train", "val"))
    classes = sorted(set(train.labels))
    settings, head, history = fit_head(params, train, val, classes, session)
    spec = ModelSpec(
        backbone=backbone,
        layers=backbone.layers,
        tuned=None,
        head=settings,
        features=head.input_shape[1],
        classes=tuple(classes),
    )
    report = {"fitted": settings["fitted"]} if "fitted" in settings else {}
    return Result(Classifier(spec, head, FEATURES / BACKBONE), history, report)


def fit_head(
    params: Params, train: Inputs, val: Inputs, classes: list[str], session: loop.Session
) -> tuple[dict[str, Any], keras.Model, History]:
    """Train a head on features.

    Returns:
        Its settings, the head (features to logits) with the weights of the epoch that is kept, and its history.
    """
    kind, settings = params.head.kind, params.head.model_dump(by_alias=True)
    if isinstance(train, Features) and len(train.widths) > 1:
        settings["widths"] = train.widths
    if isinstance(kind, Classical):
        weights = params.weights_of(train.numbers(classes), len(classes))
        return classical.fit(settings, kind, train, val, classes, weights, session.seed, session.log)
    head = head_model.build(settings, train.rows(slice(0, 1)).shape[1], len(classes))
    head_model.fit_scale(head, train)
    shuffled = batches.Batches(train, classes, params, session.seed)
    trained = loop.fit(head, shuffled, val, classes, params, session)
    trained.load(head, kept_epoch(trained.history, params.keep))
    return settings, head, trained.history
