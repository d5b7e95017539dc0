"""Mode `fine_tune`: a head is warmed up on features of the frozen backbone, then the backbone's last layers train too.

Yosinski et al., How transferable are features in deep neural networks?, 2014. Where all epochs see the same pixels,
only the layers above the split point run (see split_point.py): `extract` has computed the features below it.
"""

from pathlib import Path
from typing import NamedTuple

import keras

from darkroom.backbones import keras_apps
from darkroom.core import precision
from darkroom.core.errors import UserError
from darkroom.core.model_spec import BACKBONE, BackboneSpec, ModelSpec, TunedSpec
from darkroom.core.paths import FEATURES
from darkroom.core.weights_file import save_weights
from darkroom.images.folders import listed
from darkroom.models import forward, head_model, split_point
from darkroom.models.classifier import Classifier
from darkroom.models.inputs import Features, Held, Inputs, Pictures
from darkroom.train import loop
from darkroom.train.batches import Batches, ChangedPictures
from darkroom.train.history import kept_epoch
from darkroom.train.params import FineTune, Params
from darkroom.train.result import Result


class Plan(NamedTuple):
    """The layers of the backbone that are trained, and the layer from which it runs."""

    below: str | None  # the last frozen layer
    trained: list[str]
    top: str  # its pooled output goes into the head
    start: str | None  # an epoch starts from this layer's features; None: from the pixels
    scored: str | None  # the same for evaluation, where pixels never change


def plan(whole: keras.Model, settings: FineTune, extracted: BackboneSpec) -> Plan:
    """Find the split point, and check that the features there were extracted.

    Raises:
        UserError: they were not, or the settings name layers that do not exist or leave nothing to train.
    """
    below, trained = split_point.before(whole, settings.unfreeze)
    layers = list(keras_apps.layer_outputs(whole))
    top = settings.top or layers[-1]
    if top not in layers:
        raise UserError(f"train.fine_tune.top: {extracted.name} has no layer {top}; it has {', '.join(layers)}.")
    above = below is None or layers.index(top) > layers.index(below)
    if settings.unfreeze == "none":
        if not settings.pixels_change():
            raise UserError(
                "train.fine_tune.unfreeze none trains the head alone, and no pictures change: set train.mode to head, "
                "which does that on cached features, or choose transforms in train.fine_tune.online."
            )
        return Plan(top, [], top, None, None)
    reached = {layer.name for layer in split_point.part(whole, below, top).layers} if above else set()
    trained = [name for name in trained if name in reached]
    if not trained:
        raise UserError(f"train.fine_tune: nothing is trained between {below} and top {top}: unfreeze more.")
    available = below is not None and extracted.layers == (below,) and extracted.pooling == "flatten"
    if below and not available and not settings.pixels_change():
        raise UserError(
            f"train.fine_tune.unfreeze {settings.unfreeze} trains the layers after {below}, so that layer's features "
            f"are needed: set extract.layers to [{below}] and extract.pooling to flatten."
        )
    scored = below if available and not settings.mirror else None
    return Plan(below, trained, top, None if settings.pixels_change() else below, scored)


def fit(params: Params, backbone: BackboneSpec, session: loop.Session, folder: Path) -> Result:
    """Warm up the head, then fine-tune; keep the epoch of either phase that `params.keep` selects.

    Args:
        params: section `train`; in the second phase, keys of `fine_tune` replace those of the same name.
        backbone: as it was extracted.
        session: seed, state and log.
        folder: for the backbone's weights.
    """
    settings = params.fine_tune
    name, (height, width) = str(backbone.name), backbone.size
    choice = precision.choose(params.precision)
    whole = keras_apps.network(name, (height, width), choice.policy)
    whole.load_weights(FEATURES / BACKBONE)
    chosen = plan(whole, settings, backbone)
    for layer in whole.layers:
        layer.trainable = layer.name in chosen.trained  # never batch normalisation, which stays in inference mode

    rows, maps = split_point.entry(whole, name, chosen.start)
    features = split_point.features(whole, chosen.start, chosen.top, settings.pooling, maps, chosen.below)
    train, val = (_inputs(part, chosen.start, (height, width)) for part in ("train", "val"))
    classes = sorted(set(train.labels))
    head_settings = params.head.model_dump(by_alias=True)
    head = head_model.build(head_settings, features.shape[1], len(classes))
    model = keras.Model(rows, head(features))

    phases: list[tuple[keras.Model, loop.Trained]] = []
    if settings.warm_up or any(isinstance(layer, keras.layers.Normalization) for layer in head.layers):
        if backbone.layers == (chosen.top,) and backbone.pooling == settings.pooling:
            frozen: list[Inputs] = [Features(FEATURES, part, backbone.layers) for part in ("train", "val")]
        else:
            below = keras.Model(rows, features)
            frozen = [Held(forward.run(below, inputs), inputs) for inputs in (train, val)]
        head_model.fit_scale(head, frozen[0])
    if settings.warm_up:
        shuffled = Batches(frozen[0], classes, params, session.seed)
        phases.append((head, loop.fit(head, shuffled, frozen[1], classes, params, session, "warm_up")))
    history = phases[0][1].history if phases else {}
    warmed_up = len(history.get("loss", ()))

    own = {key: getattr(settings, key) for key in ("epochs", "learning_rate", "batch_size")}
    second = params.model_copy(update=own)
    batches = (
        ChangedPictures(train, classes, second, session.seed, settings)
        if isinstance(train, Pictures)
        else Batches(train, classes, second, session.seed)
    )
    phases.append((model, loop.fit(model, batches, val, classes, second, session, "fine_tune", warmed_up)))
    history = {figure: history.get(figure, []) + values for figure, values in phases[-1][1].history.items()}
    keep = kept_epoch(history, params.keep)
    before = keep < warmed_up
    if before:
        print(f"train: keeping epoch {keep + 1}, of the warm-up: the backbone stays as it was", flush=True)
        whole.load_weights(FEATURES / BACKBONE)
    trained_model, trained = phases[0] if before else phases[-1]
    trained.load(trained_model, keep if before else keep - warmed_up)
    save_weights(whole, folder / BACKBONE)
    spec = ModelSpec(
        backbone=backbone,
        layers=(chosen.scored,) if chosen.scored else (),
        tuned=TunedSpec(start=chosen.scored, top=chosen.top, pooling=settings.pooling),
        head=head_settings,
        features=int(features.shape[1]),
        mirror=settings.mirror,
        classes=tuple(classes),
    )
    report = {
        "warm_up_epochs": warmed_up,
        "cut": chosen.below,
        "trained_layers": chosen.trained,
        **choice.report(),
    }
    return Result(Classifier(spec, head, folder / BACKBONE), history, report)


def _inputs(part: str, start: str | None, size: tuple[int, int]) -> Inputs:
    return Features(FEATURES, part, [start]) if start else Pictures(listed(part), size).hold()
