"""Say which training to start with, and why: from the number of pictures, and from how well nearest neighbours do.

The rule of thumb is that of Stanford's course CS231n on transfer learning: a small set near to ImageNet needs a linear
classifier on the top features; a large one near to it can tune some layers; a small one far from it needs earlier
features; a large one far from it can be trained whole, from the pretrained weights.

Reads   data/features, reports/extract.json, params.yaml
"""

import json
import math
from typing import Any, NamedTuple

import numpy as np

from darkroom.core import runtime
from darkroom.core.errors import UserError
from darkroom.core.params import flat
from darkroom.core.paths import EXTRACT_REPORT, FEATURES
from darkroom.models.inputs import Features, Inputs
from darkroom.pipeline import params

LARGE = 1000  # training pictures of a class, on average
NEAR = 0.6  # of the way from chance to perfect that neighbours must come: then the features tell the classes apart
NEIGHBOURS = (1, 5, 10, 20)
MOST_KEPT = 2**18  # features of a picture
RATE = 1e-5  # for pretrained weights, which a large one would destroy; Adam's


class Advice(NamedTuple):
    """Why, and what to set in params.yaml."""

    why: str
    params: dict[str, Any]


def main() -> None:
    """Measure, and print the advice with the command that follows it."""
    if not EXTRACT_REPORT.exists():
        raise UserError(f"there is no {EXTRACT_REPORT} yet: run `dvc repro extract`.")
    extracted = json.loads(EXTRACT_REPORT.read_text())
    if extracted["backbone"] is None:
        raise UserError("advice needs features, but extract.backbone is null: name a network there.")
    train, val = (Features(FEATURES, part, extracted["layers"]) for part in ("train", "val"))
    if not len(val):
        raise UserError("advice needs validation pictures: give split.ratio a share for val.")
    accuracy, k = neighbours(train, val)
    classes = len(set(train.labels))
    network = f"{extracted['backbone']} ({extracted['weights']}) at {', '.join(extracted['layers'])}"
    print(f"{len(train):,} training pictures, {len(train) / classes:,.0f} a class.")
    print(
        f"By the features of {network} the nearest neighbours (k = {k}) are right for {accuracy:.1%} of {len(val):,} "
        f"validation pictures; chance is {1 / classes:.1%}."
    )
    advice = advise(len(train) / classes, (accuracy - 1 / classes) / (1 - 1 / classes), extracted)
    print(f"\n{advice.why}\n")
    now = flat(params.complete(params.load()))
    changes = {key: value for key, value in advice.params.items() if now.get(key) != value}
    settings = "".join(f" -S '{key}={_hydra(value)}'" for key, value in changes.items())
    print(f"    dvc exp run{settings}" if settings else "    params.yaml says so already.")


def neighbours(train: Inputs, val: Inputs) -> tuple[float, int]:
    """The best accuracy of k-nearest neighbours on val, by cosine similarity, and its k."""
    from sklearn.neighbors import KNeighborsClassifier

    classes = sorted(set(train.labels))
    model = KNeighborsClassifier(min(max(NEIGHBOURS), len(train)), metric="cosine")
    model.fit(train.rows(), train.numbers(classes))
    nearest = train.numbers(classes)[model.kneighbors(val.rows(), return_distance=False)]
    found = []
    for k in NEIGHBOURS:
        votes = np.stack([(nearest[:, :k] == number).sum(axis=1) for number in range(len(classes))], axis=1)
        found.append((float((votes.argmax(axis=1) == val.numbers(classes)).mean()), k))
    return max(found, key=lambda pair: pair[0])


def advise(per_class: float, close: float, extracted: dict[str, Any]) -> Advice:
    """The advice for so many training pictures a class.

    Args:
        per_class: on average.
        close: how far the neighbours' accuracy is on the way from chance (0) to perfect (1).
        extracted: what `extract` reported.
    """
    if extracted["weights"] == "random":
        return Advice(
            "The network's weights are random, so there is nothing to transfer: take pretrained ones, and ask again.",
            {"extract.weights": "imagenet"},
        )
    top, earlier, block, below = _layers(extracted)
    few, many = (
        f"fewer than {LARGE:,} pictures a class are a small set",
        f"{LARGE:,} pictures a class or more are a large set",
    )
    near, far = (f"The classes lie {where} what the network has learnt" for where in ("near to", "far from"))
    # Each advice sets all that it depends on, so that it can follow any other.
    linear = {
        "extract.pooling": "avg",
        "train.mode": "head",
        "train.head.type": "logistic",
        "train.label_smoothing": 0.0,
    }
    tuning = {
        "train.mode": "fine_tune",
        "train.head.type": "dense",
        "train.fine_tune.top": None,
        "train.fine_tune.warm_up": True,
        "train.fine_tune.pooling": "avg",
        "train.fine_tune.learning_rate": RATE,
        "train.fine_tune.mixup": 0.0,
        "train.fine_tune.cutmix": 0.0,
    }
    from_the_cut = {"extract.pooling": "flatten", "train.fine_tune.online.preset": "none"} | tuning
    from_pixels = {
        "extract.layers": [top],
        "extract.pooling": "avg",
        "train.fine_tune.online.preset": "tutorial",
    } | tuning
    if close >= NEAR and per_class < LARGE:
        return Advice(
            f"{near}, and {few}: train a linear classifier on the top features and leave the network as it is, which "
            "would only learn the training pictures by heart.",
            {"extract.layers": [top]} | linear,
        )
    if close >= NEAR:
        cached = from_the_cut | {"extract.layers": [below]} if below else from_pixels
        return Advice(
            f"{near}, and {many}: fine-tune its last {block} layers from their weights, at a small rate.",
            cached | {"train.fine_tune.unfreeze": block},
        )
    if per_class < LARGE:
        return Advice(
            f"{far}, and {few}: train a linear classifier on earlier features, which are less of ImageNet's own.",
            {"extract.layers": [earlier]} | linear,
        )
    return Advice(
        f"{far}, but {many}: train all of the network, from its weights and not from random ones, at a small rate, "
        "with pictures that change each epoch. On a CPU this takes long.",
        from_pixels | {"train.fine_tune.unfreeze": "all"},
    )


def _layers(extracted: dict[str, Any]) -> tuple[str, str, int, str | None]:
    """The network's last layer, an earlier one with maps four times as wide, the number of its last layers to tune
    (a fifth of those with weights), and the layer below those, or None where its features are too many to be kept.
    """
    runtime.import_tensorflow()
    from darkroom.backbones import keras_apps
    from darkroom.models import split_point

    height, width = extracted["image_size"]
    whole = keras_apps.network(extracted["backbone"], (height, width))
    known = keras_apps.outputs(whole)
    last = list(known)[-1]
    wide = [name for name in split_point.places(whole) if known[name].shape[1] >= 4 * known[last].shape[1]]
    count = max(1, round(len(split_point.before(whole, "all").trained) / 5))
    below = split_point.before(whole, count).below
    kept = below if below and math.prod(known[below].shape[1:]) <= MOST_KEPT else None
    return last, wide[-1] if wide else last, count, kept


def _hydra(value: Any) -> str:
    """A value as `dvc exp run -S` takes it."""
    if value is None:
        return "null"
    return f"[{','.join(value)}]" if isinstance(value, list) else str(value)
