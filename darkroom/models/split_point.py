"""Splitting a backbone for fine-tuning: at which layers it can be split, and at which it must be.

Nothing below the split point is trained, so its output for a picture never changes and can be cached. Only the layers
above it run, forward and backward.
"""

import math
from typing import Any, NamedTuple

import keras

from darkroom.backbones import keras_apps
from darkroom.core.errors import UserError


class SplitPoint(NamedTuple):
    """Where a backbone is split, and the layers that are trained."""

    below: str | None  # the last layer below the split point; None if training starts from the pixels
    trained: list[str]  # layers whose weights change


def before(whole: keras.Model, unfreeze: str | int) -> SplitPoint:
    """The split point for training the last layers of a network; batch normalisation is never trained.

    Args:
        whole: a network without classifier.
        unfreeze: "all"; "none" (the head alone); a name, for all layers from the first one on whose name begins with
            it; or a number, for that many of the last layers with weights, not counting batch normalisation.

    Raises:
        UserError: no layer, or none with weights, has that name.
    """
    order = [layer.name for layer in whole.operations]
    trainable = [
        layer.name
        for layer in whole.layers
        if layer.trainable_weights and not isinstance(layer, keras.layers.BatchNormalization)
    ]
    if unfreeze == "none":
        return SplitPoint(places(whole)[-1], [])
    if unfreeze == "all":
        first = 0
    elif isinstance(unfreeze, int):
        first = order.index(trainable[-min(unfreeze, len(trainable))])
    else:
        exact = [position for position, name in enumerate(order) if name == unfreeze]
        named = exact or [position for position, name in enumerate(order) if name.startswith(unfreeze)]
        if not named:
            raise UserError(f"train.fine_tune.unfreeze: no layer's name begins with {unfreeze}; {_layers(whole)}.")
        first = named[0]
    trained = [name for name in trainable if order.index(name) >= first]
    if not trained:
        raise UserError(
            f"train.fine_tune.unfreeze: no layer has weights to train from {unfreeze} on; {_layers(whole)}."
        )
    below = [name for name in places(whole) if order.index(name) < first]
    return SplitPoint(below[-1] if below else None, trained)


def places(whole: keras.Model) -> list[str]:
    """Layers at which the network can be split: all later ones depend on the input only through this layer."""
    config = whole.get_config()["layers"]
    order = {layer["name"]: position for position, layer in enumerate(config)}
    last_use = dict.fromkeys(order, 0)
    for layer in config:
        for name in _inputs(layer["inbound_nodes"]):
            last_use[name] = max(last_use[name], order[layer["name"]])
    result, outputs, reach = [], keras_apps.layer_outputs(whole), 0
    for name, position in order.items():
        if reach <= position and name in outputs:
            result.append(name)
        reach = max(reach, last_use[name])
    return result


def part(whole: keras.Model, start: str | None, stop: str) -> keras.Model:
    """The network from the output of layer `start` (None: from its input) to that of layer `stop`."""
    outputs = keras_apps.layer_outputs(whole)
    return keras.Model(outputs[start] if start else whole.input, outputs[stop], name=f"to_{stop}")


def entry(whole: keras.Model, name: str, start: str | None) -> tuple[Any, Any]:
    """The input of training or scoring, and its maps as the layers after `start` take them.

    The input takes flat features of layer `start` (batch, n), or for None resized pixels (batch, height, width, 3), 0
    to 255.
    """
    if start is None:
        pixels = keras.Input(whole.input_shape[1:], name="resized")
        return pixels, keras_apps.Preprocess(name)(pixels)
    shape = keras_apps.layer_outputs(whole)[start].shape[1:]
    rows = keras.Input((math.prod(shape),), name="rows")
    return rows, keras.layers.Reshape(shape)(rows)


def features(
    whole: keras.Model, start: str | None, top: str, pooling: str, maps: Any, frozen: str | None = None
) -> Any:
    """Pooled features (batch, n) of layer `top` from the maps of layer `start`.

    The layers up to `frozen` run in inference mode, which concerns dropout and normalisation.
    """
    if frozen not in (None, start):
        maps = part(whole, start, str(frozen))(maps, training=False)
        start = frozen
    if start != top:
        maps = part(whole, start, top)(maps)
    return keras_apps.pool(maps, pooling)


def _inputs(node: Any) -> list[str]:
    """Names of the layers whose outputs a layer takes, from the serialised call."""
    if isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            return [node["config"]["keras_history"][0]]
        node = list(node.values())
    return [name for item in node for name in _inputs(item)] if isinstance(node, list | tuple) else []


def _layers(whole: keras.Model) -> str:
    return f"its layers are {', '.join(keras_apps.layer_outputs(whole))}"
