"""Grad-CAM: the regions of a picture that support a class (Selvaraju et al., Grad-CAM: Visual Explanations from Deep
Networks via Gradient-based Localization, 2017).

The feature maps are those of the deepest layer that the head takes, before pooling; for a network from scratch, those
of its last layer with spatial extent. Where the head takes several layers, the shallower ones are held constant. Where
the maps of the deepest layer are 1x1, those of the last layer before it that are larger are used, and the gradient
passes through the layers between.
"""

import keras
import numpy as np
import tensorflow as tf

from darkroom.backbones import keras_apps
from darkroom.core.errors import UserError
from darkroom.models import heads, split_point
from darkroom.models.classifier import Classifier


class Explainer:
    """Computes heat maps of a model, one picture at a time."""

    def __init__(self, model: Classifier) -> None:
        """Build a network that outputs the feature maps as well as the input of the head.

        Raises:
            UserError: the model has no gradient, or no feature maps.
        """
        spec = model.spec
        if heads.counts_votes(spec.head_type):
            others = ", ".join(name for name in heads.registered() if not heads.counts_votes(name))
            raise UserError(
                f"Grad-CAM needs a gradient, and a head of type {spec.head_type} has none: set train.head.type to one "
                f"of {others}."
            )
        scratch = spec.mode == "scratch"
        network = model.head if scratch else model.backbone
        outputs = keras_apps.layer_outputs(network)
        if scratch:
            layers, pooling = [list(outputs)[-1]], "flatten"  # the logits, which are flat already
        elif spec.tuned:
            layers, pooling = [spec.tuned.top], spec.tuned.pooling
        else:
            layers, pooling = list(spec.layers), str(spec.backbone.pooling)
        *shallower, deepest = sorted(layers, key=list(outputs).index)
        name = layer_of_maps(network, layers)
        trunk = keras.Model(network.input, [outputs[layer] for layer in (name, *shallower)])
        pixels = keras.Input((None, None, 3), name="pixels")
        resized = keras_apps.Resize(spec.backbone.size, name="resize")(pixels)
        self._body = keras.Model(
            pixels, trunk(resized if scratch else keras_apps.Preprocess(str(spec.backbone.name))(resized))
        )
        inputs = [keras.Input(output.shape[1:]) for output in trunk.outputs]
        between = split_point.part(network, name, deepest) if name != deepest else keras.layers.Identity()
        maps = dict(zip((deepest, *shallower), (between(inputs[0]), *inputs[1:]), strict=True))
        rows = [keras_apps.pool(maps[layer], pooling) for layer in layers]
        self._rows = keras.Model(inputs, keras.layers.Concatenate()(rows) if len(rows) > 1 else rows[0])
        self._head = keras.layers.Identity() if scratch else model.head

    def gradient(self, pixels: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The feature maps (rows, columns, channels), and the gradient of the score of a class with respect to them.

        The score is the logit; with two classes it is the difference of the logits, since such a model may have a
        single sigmoid, for the second class.
        """
        # A tape goes back through all that it has recorded, so it must not record the layers below the maps.
        maps, *shallower = keras.tree.flatten(self._body(tf.constant(pixels[None], tf.float32), training=False))
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(maps)
            rows = self._rows([maps, *shallower], training=False)
            logits = self._head(rows, training=False)
            score = logits[:, number] - (logits[:, 1 - number] if logits.shape[1] == 2 else 0.0)
        slopes = tape.gradient(score, rows)
        # The square root of a feature has an infinite slope at 0, which would make the whole gradient NaN.
        slopes = tf.where(tf.math.is_finite(slopes), slopes, 0.0)
        return maps[0].numpy(), tape.gradient(rows, maps, output_gradients=slopes)[0].numpy()

    def heat(self, pixels: np.ndarray, number: int) -> np.ndarray:
        """The heat map of a class: how strongly each region supports it.

        Args:
            pixels: a picture of any size, uint8 (height, width, 3), RGB.
            number: of the class.

        Returns:
            float32 (height, width), scaled to a maximum of 1; 0 everywhere if no region supports the class.
        """
        maps, slopes = self.gradient(pixels, number)
        heat = np.maximum(maps @ slopes.mean(axis=(0, 1)), 0)
        large: np.ndarray = tf.image.resize(heat[..., None], pixels.shape[:2])[..., 0].numpy()
        return large / large.max() if large.max() > 0 else large


def layer_of_maps(network: keras.Model, layers: list[str]) -> str:
    """The deepest of the layers, or the last one before it, whose feature maps are larger than 1x1.

    Raises:
        UserError: there is none at or after the first convolution.
    """
    order = [layer.name for layer in network.operations]
    first = next((layer.name for layer in network.operations if isinstance(layer, keras.layers.Conv2D)), order[-1])
    outputs = keras_apps.layer_outputs(network)
    deepest = max(layers, key=order.index)
    for name in (deepest, *reversed(split_point.places(network))):
        shape = outputs[name].shape
        if order.index(first) <= order.index(name) <= order.index(deepest) and len(shape) == 4 and min(shape[1:3]) > 1:
            return name
    raise UserError(
        f"Grad-CAM needs feature maps larger than 1x1, and the network {network.name} has none up to {deepest}: "
        "choose another network, or larger pictures."
    )


def overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Blend a picture, uint8 (height, width, 3), with its heat map (height, width), from 0 (blue) to 1 (red)."""
    from matplotlib import colormaps

    colours = 255 * colormaps["jet"](heat)[..., :3]
    return np.rint(0.6 * pixels + 0.4 * colours).astype(np.uint8)
