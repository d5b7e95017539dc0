"""Fine-tuning: a head is warmed up on features of the frozen network, then the last layers of the network learn too.

Yosinski et al., How transferable are features in deep neural networks?, 2014. Where every epoch sees the same pixels,
only what is above the cut runs (see split_point.py): the features below it come from `extract`.
"""

from pathlib import Path
from typing import NamedTuple

import keras

from darkroom.backbones import keras_apps
from darkroom.core import runtime
from darkroom.core.errors import UserError
from darkroom.core.model_spec import BACKBONE, BackboneSpec, ModelSpec, TunedSpec
from darkroom.core.paths import FEATURES
from darkroom.images.folders import listed
from darkroom.models import heads, split_point
from darkroom.models.classifier import Classifier
from darkroom.models.inputs import Features, Held, Inputs, Pictures
from darkroom.train import loop
from darkroom.train.batches import Batches, ChangedPictures
from darkroom.train.params import FineTune, Params
from darkroom.train.result import Result


class Plan(NamedTuple):
    """What of the network is trained, and from where it runs."""

    below: str | None  # the last frozen layer before those that are trained
    trained: list[str]
    top: str  # whose pooled output the head takes
    start: str | None  # the layer whose features an epoch begins with; None for the pixels
    scored: str | None  # the same for evaluation, where pixels never change


def plan(whole: keras.Model, how: FineTune, extracted: BackboneSpec) -> Plan:
    """Find the cut, and check that the features which it needs were extracted.

    Raises:
        UserError: they were not, or the names in the params are not those of layers.
    """
    below, trained = split_point.before(whole, how.unfreeze)
    known = list(keras_apps.outputs(whole))
    top = how.top or known[-1]
    if top not in known:
        raise UserError(f"train.fine_tune.top: {extracted.name} has no layer {top}; it has {', '.join(known)}.")
    above = below is None or known.index(top) > known.index(below)
    if how.unfreeze == "none":
        if not how.pixels_change():
            raise UserError(
                "train.fine_tune.unfreeze none trains the head alone, and no pictures change: set train.mode to head, "
                "which does that on cached features, or choose transforms in train.fine_tune.online."
            )
        return Plan(top, [], top, None, None)
    reached = {layer.name for layer in split_point.part(whole, below, top).layers} if above else set()
    trained = [name for name in trained if name in reached]
    if not trained:
        raise UserError(f"train.fine_tune: nothing is trained between {below} and top {top}: unfreeze more.")
    here = below is not None and extracted.layers == (below,) and extracted.pooling == "flatten"
    if below and not here and not how.pixels_change():
        raise UserError(
            f"train.fine_tune.unfreeze {how.unfreeze} trains what comes after {below}, so that layer's features are "
            f"needed: set extract.layers to [{below}] and extract.pooling to flatten."
        )
    return Plan(below, trained, top, None if how.pixels_change() else below, below if here else None)


def fit(params: Params, backbone: BackboneSpec, session: loop.Session, folder: Path) -> Result:
    """Warm up the head, then fine-tune; keep the epoch of both phases that `params.keep` selects.

    Args:
        params: of the stage. Gradient descent of the warm-up follows its own keys; those that `fine_tune` has replace
            them in the second phase.
        backbone: as it was extracted.
        session: seed, state and log.
        folder: to which the backbone's weights are written.
    """
    how, descent = params.fine_tune, params
    name, (height, width) = str(backbone.name), backbone.size
    precision = runtime.precision(descent.precision)
    whole = keras_apps.network(name, (height, width), precision)
    whole.load_weights(FEATURES / BACKBONE)
    chosen = plan(whole, how, backbone)
    for layer in whole.layers:
        layer.trainable = layer.name in chosen.trained  # batch normalisation is not: it stays as in a prediction

    rows, maps = split_point.entry(whole, name, chosen.start)
    features = split_point.features(whole, chosen.start, chosen.top, how.pooling, maps, chosen.below)
    train, val = (_inputs(part, chosen.start, (height, width)) for part in ("train", "val"))
    classes = sorted(set(train.labels))
    settings = params.head.model_dump(by_alias=True)
    top = heads.build(settings, features.shape[1], len(classes))
    model = keras.Model(rows, top(features))

    phases: list[tuple[keras.Model, loop.Trained]] = []
    if how.warm_up or any(isinstance(layer, keras.layers.Normalization) for layer in top.layers):
        if backbone.layers == (chosen.top,) and backbone.pooling == how.pooling:
            warm: list[Inputs] = [Features(FEATURES, part, backbone.layers) for part in ("train", "val")]
        else:
            frozen = keras.Model(rows, features)
            warm = [Held(heads.run(frozen, inputs), inputs) for inputs in (train, val)]
        heads.fit_scale(top, warm[0])
    if how.warm_up:
        shuffled = Batches(warm[0], classes, descent, session.seed)
        phases.append((top, loop.fit(top, shuffled, warm[1], classes, descent, session, "warm_up")))
    history = phases[0][1].history if phases else {}
    warmed_up = len(history.get("loss", ()))

    own = {name: getattr(how, name) for name in ("epochs", "learning_rate", "batch_size")}
    second = descent.model_copy(update=own)
    batches = (
        ChangedPictures(train, classes, second, session.seed, how)
        if isinstance(train, Pictures)
        else Batches(train, classes, second, session.seed)
    )
    phases.append((model, loop.fit(model, batches, val, classes, second, session, "fine_tune", warmed_up)))
    tuned = phases[-1][1].history
    history = {figure: history.get(figure, []) + values for figure, values in tuned.items()}
    keep = loop.kept(history, descent.keep)
    before = keep < warmed_up
    if before:
        print(f"train: of epoch {keep + 1} the warm-up's model is kept (rate {how.learning_rate})", flush=True)
        whole.load_weights(FEATURES / BACKBONE)
    kept_in, trained = phases[0] if before else phases[-1]
    trained.load(kept_in, keep if before else keep - warmed_up)
    whole.save_weights(folder / BACKBONE)
    spec = ModelSpec(
        backbone=backbone,
        layers=(chosen.scored,) if chosen.scored else (),
        tuned=TunedSpec(start=chosen.scored, top=chosen.top, pooling=how.pooling),
        head=settings,
        features=int(features.shape[1]),
        classes=tuple(classes),
    )
    report = {
        "warm_up_epochs": warmed_up,
        "cut": chosen.below,
        "trained_layers": chosen.trained,
        "precision": precision,
    }
    return Result(Classifier(spec, top, folder / BACKBONE), history, report)


def _inputs(part: str, start: str | None, size: tuple[int, int]) -> Inputs:
    return Features(FEATURES, part, [start]) if start else Pictures(listed(part), size).hold()
