"""Recommend a training for these pictures, and explain why.

The recommendation depends on the number of pictures and on the accuracy of nearest neighbours on the features. The rule
of thumb is that of Stanford's course CS231n on transfer learning: for few pictures similar to ImageNet, a linear
classifier on the top features; for many similar ones, fine-tuning of the last layers; for few dissimilar ones, a linear
classifier on earlier features; for many dissimilar ones, training of the whole network from the pretrained weights.

Reads   data/features, reports/extract.json, params.yaml
"""

import math
from typing import Any, NamedTuple

import numpy as np

from darkroom.core import runtime
from darkroom.core.errors import UserError
from darkroom.core.model_spec import BackboneSpec
from darkroom.core.params import flat
from darkroom.core.paths import EXTRACT_REPORT, FEATURES
from darkroom.models.inputs import Features, Inputs
from darkroom.pipeline import params

LARGE = 1000  # training pictures per class, on average
SIMILAR = 0.6  # least share of the way from chance to perfect that the neighbours' accuracy must reach
NEIGHBOURS = (1, 5, 10, 20)
MOST_CACHED = 2**18  # features per picture
RATE = 1e-5  # of Adam; a higher one would destroy the pretrained weights

LINEAR = {
    "extract.pooling": "avg",
    "train.mode": "head",
    "train.head.type": "logistic",
    "train.label_smoothing": 0.0,
}
FINE_TUNING = {
    "train.mode": "fine_tune",
    "train.head.type": "dense",
    "train.fine_tune.top": None,
    "train.fine_tune.warm_up": True,
    "train.fine_tune.pooling": "avg",
    "train.fine_tune.learning_rate": RATE,
    "train.fine_tune.mixup": 0.0,
    "train.fine_tune.cutmix": 0.0,
}


class Advice(NamedTuple):
    """A recommendation. Its settings are complete enough to follow any other advice."""

    reason: str
    settings: dict[str, Any]


class Layers(NamedTuple):
    """The layers of a network that the advice refers to."""

    top: str
    earlier: str  # the last one at which the network can be cut and whose maps are four times as wide as those of `top`
    last: int  # how many of the last layers to fine-tune: a fifth of those with weights
    below: str | None  # the one below those; None if its features are too large to cache


def main() -> None:
    """Measure, and print the recommendation with the command that carries it out."""
    backbone = BackboneSpec.load(EXTRACT_REPORT)
    if backbone.name is None:
        raise UserError("advice needs features, but extract.backbone is null: set it to a network.")
    train, val = (Features(FEATURES, part, backbone.layers) for part in ("train", "val"))
    if not len(val):
        raise UserError("advice needs validation pictures: give val a share in split.ratio.")
    accuracy, k = neighbours(train, val)
    classes = len(set(train.labels))
    network = f"{backbone.name} ({backbone.weights}) at {', '.join(backbone.layers)}"
    print(f"{len(train):,} training pictures, {len(train) / classes:,.0f} per class.")
    print(
        f"On the features of {network}, nearest neighbours (k = {k}) classify {accuracy:.1%} of {len(val):,} "
        f"validation pictures correctly; chance is {1 / classes:.1%}."
    )
    advice = advise(len(train) / classes, (accuracy - 1 / classes) / (1 - 1 / classes), backbone)
    print(f"\n{advice.reason}\n")
    current = flat(params.complete(params.load()))
    changes = {key: value for key, value in advice.settings.items() if current.get(key) != value}
    options = "".join(f" -S '{key}={_hydra(value)}'" for key, value in changes.items())
    print(f"    dvc exp run{options}" if options else "    params.yaml has these settings already.")


def neighbours(train: Inputs, val: Inputs) -> tuple[float, int]:
    """Return the best accuracy of k-nearest neighbours on val, by cosine similarity, and its k."""
    from sklearn.neighbors import KNeighborsClassifier

    classes = sorted(set(train.labels))
    model = KNeighborsClassifier(min(max(NEIGHBOURS), len(train)), metric="cosine")
    model.fit(train.rows(), train.numbers(classes))
    nearest = train.numbers(classes)[model.kneighbors(val.rows(), return_distance=False)]
    results = []
    for k in NEIGHBOURS:
        votes = np.stack([(nearest[:, :k] == number).sum(axis=1) for number in range(len(classes))], axis=1)
        results.append((float((votes.argmax(axis=1) == val.numbers(classes)).mean()), k))
    return max(results, key=lambda result: result[0])


def advise(per_class: float, similarity: float, backbone: BackboneSpec) -> Advice:
    """Return the recommendation of the rule of thumb.

    Args:
        per_class: training pictures per class, on average.
        similarity: the neighbours' accuracy, on a scale from chance (0) to perfect (1).
        backbone: how the features were extracted.
    """
    if backbone.weights == "random":
        return Advice(
            "The network's weights are random, so there is nothing to transfer: use pretrained ones, then ask again.",
            {"extract.weights": "imagenet"},
        )
    layers = find_layers(backbone)
    few = f"fewer than {LARGE:,} pictures per class are a small data set"
    many = f"{LARGE:,} pictures per class or more are a large data set"
    similar = "The classes resemble what the network has learned"
    dissimilar = "The classes differ from what the network has learned"
    on_pixels = {
        "extract.layers": [layers.top],
        "extract.pooling": "avg",
        "train.fine_tune.online.preset": "tutorial",
    } | FINE_TUNING
    on_features = {
        "extract.layers": [layers.below],
        "extract.pooling": "flatten",
        "train.fine_tune.online.preset": "none",
    } | FINE_TUNING
    if similarity >= SIMILAR and per_class < LARGE:
        return Advice(
            f"{similar}, and {few}: train a linear classifier on the top features. Fine-tuning would overfit.",
            {"extract.layers": [layers.top]} | LINEAR,
        )
    if similarity >= SIMILAR:
        return Advice(
            f"{similar}, and {many}: fine-tune its last {layers.last} layers at a low learning rate.",
            (on_features if layers.below else on_pixels) | {"train.fine_tune.unfreeze": layers.last},
        )
    if per_class < LARGE:
        return Advice(
            f"{dissimilar}, and {few}: train a linear classifier on earlier features, which are less specific to "
            "ImageNet.",
            {"extract.layers": [layers.earlier]} | LINEAR,
        )
    return Advice(
        f"{dissimilar}, but {many}: train the whole network, starting from its pretrained weights, at a low learning "
        "rate and on pictures augmented anew in each epoch. On a CPU this takes long.",
        on_pixels | {"train.fine_tune.unfreeze": "all"},
    )


def find_layers(backbone: BackboneSpec) -> Layers:
    """Find the layers of the backbone that the advice refers to."""
    runtime.import_tensorflow()
    from darkroom.backbones import keras_apps
    from darkroom.models import split_point

    network = keras_apps.network(str(backbone.name), backbone.size)
    outputs = keras_apps.layer_outputs(network)
    top = list(outputs)[-1]
    wide = [name for name in split_point.places(network) if outputs[name].shape[1] >= 4 * outputs[top].shape[1]]
    count = max(1, round(len(split_point.before(network, "all").trained) / 5))
    below = split_point.before(network, count).below
    if below and math.prod(outputs[below].shape[1:]) > MOST_CACHED:
        below = None
    return Layers(top, wide[-1] if wide else top, count, below)


def _hydra(value: Any) -> str:
    """Return a value in the notation of `dvc exp run -S`."""
    if value is None:
        return "null"
    return f"[{','.join(value)}]" if isinstance(value, list) else str(value)
