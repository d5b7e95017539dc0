"""Fine-tuning: a head is warmed up on features of the frozen network, then the last layers of the network learn too.

Yosinski et al., How transferable are features in deep neural networks?, 2014. Where every epoch sees the same pixels,
only what is above the cut runs (see cut.py): the features below it come from `extract`.
"""

from pathlib import Path
from typing import Any, NamedTuple

import keras

from stages.common import hardware
from stages.common.errors import StageError
from stages.common.models import backbone, cut, heads
from stages.common.models.classifier import BACKBONE
from stages.common.models.inputs import Features, Held, Inputs, Pictures
from stages.common.paths import FEATURES
from stages.common.pictures import listed
from stages.common.training import training
from stages.common.training.batches import Batches, ChangedPictures
from stages.common.training.checkpoints import History
from stages.common.training.train_params import Descent, FineTune, Head


class Plan(NamedTuple):
    """What of the network is trained, and from where it runs."""

    below: str | None  # the last frozen layer before those that are trained
    trained: list[str]
    top: str  # whose pooled output the head takes
    start: str | None  # the layer whose features an epoch begins with; None for the pixels
    scored: str | None  # the same for evaluation, where pixels never change


def plan(whole: keras.Model, how: FineTune, extracted: dict[str, Any]) -> Plan:
    """Find the cut, and check that the features which it needs were extracted.

    Raises:
        StageError: they were not, or the names in the params are not those of layers.
    """
    below, trained = cut.before(whole, how.unfreeze)
    known = list(backbone.outputs(whole))
    top = how.top or known[-1]
    if top not in known:
        raise StageError(f"train.fine_tune.top: {extracted['backbone']} has no layer {top}; it has {', '.join(known)}.")
    above = below is None or known.index(top) > known.index(below)
    if how.unfreeze == "none":
        if not how.pixels_change():
            raise StageError(
                "train.fine_tune.unfreeze none trains the head alone, and no pictures change: set train.mode to head, "
                "which does that on cached features, or choose transforms in train.fine_tune.online."
            )
        return Plan(top, [], top, None, None)
    reached = {layer.name for layer in cut.part(whole, below, top).layers} if above else set()
    trained = [name for name in trained if name in reached]
    if not trained:
        raise StageError(f"train.fine_tune: nothing is trained between {below} and top {top}: unfreeze more.")
    here = below is not None and extracted["layers"] == [below] and extracted["pooling"] == "flatten"
    if below and not here and not how.pixels_change():
        raise StageError(
            f"train.fine_tune.unfreeze {how.unfreeze} trains what comes after {below}, so that layer's features are "
            f"needed: set extract.layers to [{below}] and extract.pooling to flatten."
        )
    return Plan(below, trained, top, None if how.pixels_change() else below, below if here else None)


def fit(
    how: FineTune, head: Head, descent: Descent, extracted: dict[str, Any], session: training.Session, folder: Path
) -> tuple[dict[str, Any], keras.Model, History, dict[str, Any]]:
    """Warm up, then fine-tune; of both phases' epochs that one stays which `descent.keep` says.

    Args:
        how: what is unfrozen, and the second phase's own settings.
        head: it must be a dense one.
        descent: the settings of the warm-up; those that `how` does not have hold for both phases.
        extracted: what `extract` reported.
        session: seed, state and log.
        folder: where the network's weights are written.

    Returns:
        Settings for `Classifier`, the head, the history of both phases, and what the report says besides.
    """
    name, (height, width) = extracted["backbone"], extracted["image_size"]
    precision = hardware.precision(descent.precision)
    whole = backbone.network(name, (height, width), precision)
    whole.load_weights(FEATURES / BACKBONE)
    chosen = plan(whole, how, extracted)
    for layer in whole.layers:
        layer.trainable = layer.name in chosen.trained  # batch normalisation is not: it stays as in a prediction

    rows, maps = cut.entry(whole, name, chosen.start)
    features = cut.features(whole, chosen.start, chosen.top, how.pooling, maps, chosen.below)
    train, val = (_inputs(part, chosen.start, (height, width)) for part in ("train", "val"))
    classes = sorted(set(train.labels))
    settings = head.model_dump(by_alias=True)
    top = heads.build(settings, features.shape[1], len(classes))
    model = keras.Model(rows, top(features))

    phases: list[tuple[keras.Model, training.Trained]] = []
    if how.warm_up or any(isinstance(layer, keras.layers.Normalization) for layer in top.layers):
        if extracted["layers"] == [chosen.top] and extracted["pooling"] == how.pooling:
            warm: list[Inputs] = [Features(FEATURES, part, extracted["layers"]) for part in ("train", "val")]
        else:
            frozen = keras.Model(rows, features)
            warm = [Held(heads.run(frozen, inputs), inputs) for inputs in (train, val)]
        heads.fit_scale(top, warm[0])
    if how.warm_up:
        shuffled = Batches(warm[0], classes, descent, session.seed)
        phases.append((top, training.fit(top, shuffled, warm[1], classes, descent, session, "warm_up")))
    history = phases[0][1].history if phases else {}
    warmed_up = len(history.get("loss", ()))

    own = {name: getattr(how, name) for name in ("epochs", "learning_rate", "batch_size")}
    second = descent.model_copy(update=own)
    batches = (
        ChangedPictures(train, classes, second, session.seed, how)
        if isinstance(train, Pictures)
        else Batches(train, classes, second, session.seed)
    )
    phases.append((model, training.fit(model, batches, val, classes, second, session, "fine_tune", warmed_up)))
    tuned = phases[-1][1].history
    history = {figure: history.get(figure, []) + values for figure, values in tuned.items()}
    keep = training.kept(history, descent.keep)
    before = keep < warmed_up
    if before:
        print(f"train: of epoch {keep + 1} the warm-up's model is kept (rate {how.learning_rate})", flush=True)
        whole.load_weights(FEATURES / BACKBONE)
    kept_in, trained = phases[0] if before else phases[-1]
    trained.load(kept_in, keep if before else keep - warmed_up)
    whole.save_weights(folder / BACKBONE)
    return (
        {
            "layers": [chosen.scored] if chosen.scored else [],
            "tuned": {"start": chosen.scored, "top": chosen.top, "pooling": how.pooling},
            "head": settings,
            "features": int(features.shape[1]),
            "classes": classes,
        },
        top,
        history,
        {
            "warm_up_epochs": warmed_up,
            "cut": chosen.below,
            "trained_layers": chosen.trained,
            "precision": precision,
        },
    )


def _inputs(part: str, start: str | None, size: tuple[int, int]) -> Inputs:
    return Features(FEATURES, part, [start]) if start else Pictures(listed(part), size).hold()
