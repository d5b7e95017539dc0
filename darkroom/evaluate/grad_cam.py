"""Grad-CAM: the places of a picture that speak for a class (Selvaraju et al., Grad-CAM: Visual Explanations from Deep
Networks via Gradient-based Localization, 2017).

The maps are those of the deepest layer that the head sees, before pooling; of a network from scratch those of its last
layer that still has places. Where the head sees several layers, the shallower ones do not come from these maps and are
held as they are. Where the deepest layer has a single place left, the last one before it that has more is taken, and
the gradient goes through the layers between.
"""

import keras
import numpy as np
import tensorflow as tf

from darkroom.backbones import keras_apps
from darkroom.core.errors import UserError
from darkroom.models import split_point
from darkroom.models.classifier import Classifier

NO_GRADIENT = ("knn", "tree", "forest")  # heads that count votes: a small change of a feature changes nothing


class Explainer:
    """Shows what a model looks at; it is built once and then asked picture by picture."""

    def __init__(self, model: Classifier) -> None:
        """Find the maps, and put the model together so that it gives them besides its logits.

        Raises:
            UserError: the model has no maps, or no gradient.
        """
        spec = model.spec
        if spec.head_type in NO_GRADIENT:
            raise UserError(
                f"there is no Grad-CAM of a head of type {spec.head_type}, which has no gradient: "
                "choose dense, logistic, linear_svm or rbf_svm in train.head.type."
            )
        scratch = spec.mode == "scratch"
        network = model.head if scratch else model.backbone
        known = keras_apps.outputs(network)
        if scratch:
            layers, pooling = [list(known)[-1]], "flatten"  # its logits: they are flat already
        elif spec.tuned:
            layers, pooling = [spec.tuned.top], spec.tuned.pooling
        else:
            layers, pooling = list(spec.layers), str(spec.backbone.pooling)
        trunk = keras.Model(network.input, [known[name] for name in (with_places(network, layers), *layers)])
        pixels = keras.Input((None, None, 3), name="pixels")
        seen = keras_apps.Resize(spec.backbone.size, name="resize")(pixels)
        maps, *rows = trunk(seen if scratch else keras_apps.Preprocess(str(spec.backbone.name))(seen))
        rows = [keras_apps.pool(row, pooling) for row in rows]
        self._body = keras.Model(pixels, [maps, keras.layers.Concatenate()(rows) if len(rows) > 1 else rows[0]])
        self._head = keras.layers.Identity() if scratch else model.head

    def gradient(self, pixels: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The maps (rows, columns, channels) and the gradient of the class' score on each of their values.

        The score is the logit; of two classes its difference from the other, since a model of two may have one logit
        alone, that of the second.
        """
        with tf.GradientTape(persistent=True) as tape:
            images = tf.constant(pixels[None], tf.float32)
            tape.watch(images)
            maps, rows = self._body(images, training=False)
            logits = self._head(rows, training=False)
            score = logits[:, number] - (logits[:, 1 - number] if logits.shape[1] == 2 else 0.0)
        slopes = tape.gradient(score, rows)
        # The square root of a feature that is 0 has no slope there, and one that is not finite would spoil all others.
        slopes = tf.where(tf.math.is_finite(slopes), slopes, 0.0)
        return maps[0].numpy(), tape.gradient(rows, maps, output_gradients=slopes)[0].numpy()

    def heat(self, pixels: np.ndarray, number: int) -> np.ndarray:
        """How much each place speaks for a class.

        Args:
            pixels: a picture of any size, uint8 (height, width, 3), RGB.
            number: of the class.

        Returns:
            float32 (height, width), 0 to 1 at the strongest place; 0 everywhere if no place speaks for the class.
        """
        maps, slopes = self.gradient(pixels, number)
        heat = np.maximum(maps @ slopes.mean(axis=(0, 1)), 0)
        large: np.ndarray = tf.image.resize(heat[..., None], pixels.shape[:2])[..., 0].numpy()
        return large / large.max() if large.max() > 0 else large


def with_places(network: keras.Model, layers: list[str]) -> str:
    """The deepest of the layers, or the last one before it, whose maps come from a convolution and have several places.

    Raises:
        UserError: there is none.
    """
    order = [layer.name for layer in network.operations]
    first = next((layer.name for layer in network.operations if isinstance(layer, keras.layers.Conv2D)), order[-1])
    known = keras_apps.outputs(network)
    deepest = max(layers, key=order.index)
    for name in (deepest, *reversed(split_point.places(network))):
        shape = known[name].shape
        if order.index(first) <= order.index(name) <= order.index(deepest) and len(shape) == 4 and min(shape[1:3]) > 1:
            return name
    raise UserError(
        f"there is no Grad-CAM of the network {network.name} up to {deepest}, since no convolution in it has maps of "
        "more than one place: choose another network, or larger pictures."
    )


def overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A picture, uint8 (height, width, 3), under its heat (height, width), 0 to 1: blue is cold, red hot."""
    from matplotlib import colormaps

    colours = 255 * colormaps["jet"](heat)[..., :3]
    return np.rint(0.6 * pixels + 0.4 * colours).astype(np.uint8)
