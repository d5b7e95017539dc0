"""Where a network can be cut in two, and where it must be for fine-tuning.

Below the cut nothing is trained, so its output for a picture never changes and can be cached; only what is above the
cut runs forward and backward.
"""

import math
from typing import Any, NamedTuple

import keras

from darkroom.backbones import keras_apps
from darkroom.core.errors import UserError


class Cut(NamedTuple):
    """What fine-tuning trains."""

    below: str | None  # the last layer below the cut; None where training begins at the pixels
    trained: list[str]  # names of the layers whose weights change


def before(whole: keras.Model, unfreeze: str | int) -> Cut:
    """The cut for training the last layers of a network; batch normalisation stays as it is.

    Args:
        whole: a network without classifier.
        unfreeze: "all"; "none", for the head alone; a name, for all from the first layer on whose name begins with it;
            or a number, for so many layers at the end that have weights, batch normalisation not counted.

    Raises:
        UserError: no layer with weights is of that name.
    """
    order = [layer.name for layer in whole.operations]
    trainable = [
        layer.name
        for layer in whole.layers
        if layer.trainable_weights and not isinstance(layer, keras.layers.BatchNormalization)
    ]
    if unfreeze == "none":
        return Cut(places(whole)[-1], [])
    if unfreeze == "all":
        first = 0
    elif isinstance(unfreeze, int):
        first = order.index(trainable[-min(unfreeze, len(trainable))])
    else:
        exact = [place for place, name in enumerate(order) if name == unfreeze]
        named = exact or [place for place, name in enumerate(order) if name.startswith(unfreeze)]
        if not named:
            raise UserError(f"train.fine_tune.unfreeze: no layer's name begins with {unfreeze}; {_known(whole)}.")
        first = named[0]
    trained = [name for name in trainable if order.index(name) >= first]
    if not trained:
        raise UserError(f"train.fine_tune.unfreeze: no weights are to be trained from {unfreeze} on; {_known(whole)}.")
    below = [name for name in places(whole) if order.index(name) < first]
    return Cut(below[-1] if below else None, trained)


def places(whole: keras.Model) -> list[str]:
    """Layers at which the network can be cut: all that comes later sees the input through this one alone."""
    config = whole.get_config()["layers"]
    order = {layer["name"]: place for place, layer in enumerate(config)}
    last_use = dict.fromkeys(order, 0)
    for layer in config:
        for name in _inputs(layer["inbound_nodes"]):
            last_use[name] = max(last_use[name], order[layer["name"]])
    found, known, reach = [], keras_apps.outputs(whole), 0
    for name, place in order.items():
        if reach <= place and name in known:
            found.append(name)
        reach = max(reach, last_use[name])
    return found


def part(whole: keras.Model, start: str | None, stop: str) -> keras.Model:
    """The network from the output of layer `start` (None: from its input) to that of layer `stop`."""
    known = keras_apps.outputs(whole)
    return keras.Model(known[start] if start else whole.input, known[stop], name=f"to_{stop}")


def entry(whole: keras.Model, name: str, start: str | None) -> tuple[Any, Any]:
    """Where training or scoring begins: an input, and what goes into the part of the network after layer `start`.

    The input takes flat features of that layer (batch, n), or without a layer resized pixels (batch, height, width, 3),
    0 to 255.
    """
    if start is None:
        pixels = keras.Input(whole.input_shape[1:], name="resized")
        return pixels, keras_apps.Preprocess(name)(pixels)
    shape = keras_apps.outputs(whole)[start].shape[1:]
    rows = keras.Input((math.prod(shape),), name="rows")
    return rows, keras.layers.Reshape(shape)(rows)


def features(
    whole: keras.Model, start: str | None, top: str, pooling: str, maps: Any, frozen: str | None = None
) -> Any:
    """Pooled features (batch, n) of layer `top` from the maps of layer `start`; up to layer `frozen` without training.

    Without training means that dropout and normalisation below the cut are as in a prediction.
    """
    if frozen not in (None, start):
        maps = part(whole, start, str(frozen))(maps, training=False)
        start = frozen
    if start != top:
        maps = part(whole, start, top)(maps)
    return keras_apps.pool(maps, pooling)


def _inputs(node: Any) -> list[str]:
    """Names of the layers whose outputs a layer takes, from its serialised call."""
    if isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            return [node["config"]["keras_history"][0]]
        node = list(node.values())
    return [name for item in node for name in _inputs(item)] if isinstance(node, list | tuple) else []


def _known(whole: keras.Model) -> str:
    return f"its layers are {', '.join(keras_apps.outputs(whole))}"
