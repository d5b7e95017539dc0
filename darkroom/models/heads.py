"""What is trained on features: features in, logits out. Every kind of head is a Keras model, so that all are saved,
exported and used in one way; scikit-learn fits the classical ones (see classical.py).
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from darkroom.core.errors import UserError
from darkroom.models.inputs import Inputs

STEPS = {  # how features are prepared where `prepare` is null
    "dense": ["one"],
    "logistic": ["sqrt", "l2"],
    "linear_svm": ["sqrt", "l2"],
    "rbf_svm": ["sqrt", "l2"],
    "knn": ["sqrt", "l2"],
    "tree": ["l2"],
    "forest": ["sqrt", "l2"],
}

BATCH = 512  # rows at a time, …
VALUES = 2**22  # … but not many more numbers than this
LEAST_VARIANCE = 1e-4  # of a feature, as a share of the mean over all features


def build(settings: dict[str, Any], features: int, classes: int, prepared: keras.Model | None = None) -> keras.Model:
    """A head with untrained weights: features (batch, features) to float32 logits (batch, classes).

    Args:
        settings: those of params.yaml, and for a classical head what its fit came to.
        features: how many a row has.
        classes: how many there are.
        prepared: its first part where that is there already.
    """
    prepared = prepared or prepare(settings, features)
    return keras.Model(prepared.input, _KINDS[settings["type"]](settings, classes, prepared.output), name="head")


def prepare(settings: dict[str, Any], features: int) -> keras.Model:
    """The first part of a head: features as the classifier proper sees them."""
    inputs = keras.Input((features,), name="features")
    x = keras.layers.Identity(name="as_they_are")(inputs)
    for step in STEPS[settings["type"]] if settings["prepare"] is None else settings["prepare"]:
        x = _STEPS[step](name=step)(x)
    return keras.Model(inputs, x)


def fit_scale(model: keras.Model, features: Inputs) -> None:
    """Set means and variances in a head, or its first part, from the training features, some of them at a time."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            data = tf.data.Dataset.from_generator(
                lambda: (features.rows(rows) for rows in chunks(len(features), model.input_shape)),
                output_signature=tf.TensorSpec((None, model.input_shape[1]), tf.float32),
            )
            layer.adapt(data.map(keras.Model(model.input, layer.input)))
            mean, variance, *count = layer.get_weights()
            # A feature that hardly varies in training must not blow up when it does later.
            layer.set_weights([mean, np.maximum(variance, LEAST_VARIANCE * variance.mean()), *count])
            layer.finalize_state()


def run(model: keras.Model, inputs: Inputs, forward: Callable[[Any], Any] | None = None) -> np.ndarray:
    """What a model says of all rows, as a prediction, some of them in memory at a time.

    Args:
        model: rows to (rows, n).
        inputs: the rows.
        forward: how the model is called, if not plainly: compiled, for many calls.
    """
    forward = forward or functools.partial(model, training=False)
    result = np.empty((len(inputs), *model.output_shape[1:]), np.float32)
    for rows in chunks(len(inputs), model.input_shape):
        result[rows] = ops.convert_to_numpy(forward(inputs.rows(rows)))
    return result


def chunks(count: int, shape: tuple[int, ...]) -> list[slice]:
    """Slices of so many rows, each (…, *shape[1:]), of a size that memory has room for."""
    size = max(16, min(BATCH, VALUES // math.prod(shape[1:])))
    return [slice(start, start + size) for start in range(0, count, size)]


def _dense(settings: dict[str, Any], classes: int, x: Any) -> Any:
    """Hidden layers, dropout before each; with one sigmoid z the logits are (0, z), whose softmax is the sigmoid."""
    # Layers have names, since Keras' numbers would depend on what else the process has built and are in the file.
    hidden, dropout = settings["hidden"], settings["dropout"]
    *before, last = dropout if isinstance(dropout, list) else [dropout] * (len(hidden) + 1)
    for number, (units, share) in enumerate(zip(hidden, before, strict=True), start=1):
        x = keras.layers.Dropout(share, name=f"dropout_{number}")(x)
        x = keras.layers.Dense(units, name=f"hidden_{number}")(x)
        x = keras.layers.BatchNormalization(name=f"batch_norm_{number}")(x) if settings["batch_norm"] else x
        x = keras.layers.Activation(settings["activation"], name=f"activation_{number}")(x)
    x = keras.layers.Dropout(last, name="dropout")(x)
    if settings["output"] == "softmax":
        return keras.layers.Dense(classes, name="logits")(x)
    if classes != 2:
        raise UserError(f"train.head.output sigmoid is for two classes, but there are {classes}: set it to softmax.")
    z = keras.layers.Dense(1, name="logit")(x)
    return ops.concatenate([ops.zeros_like(z), z], axis=1)


def _linear(settings: dict[str, Any], classes: int, x: Any) -> Any:
    return keras.layers.Dense(classes, name="classifier")(x)


def _kernel(settings: dict[str, Any], classes: int, x: Any) -> Any:
    return keras.layers.Dense(classes, name="classifier")(Kernel(settings["fitted"]["vectors"], name="kernel")(x))


def _neighbours(settings: dict[str, Any], classes: int, x: Any) -> Any:
    return Neighbours(settings["fitted"]["vectors"], classes, settings["fitted"]["neighbours"], name="classifier")(x)


def _trees(settings: dict[str, Any], classes: int, x: Any) -> Any:
    sizes = {name: settings["fitted"][name] for name in ("roots", "nodes", "deepest", "floor")}
    return Trees(classes=classes, **sizes, name="classifier")(x)


@keras.saving.register_keras_serializable("darkroom")
class SignedRoot(keras.layers.Layer):
    """The square root of each value, its sign kept."""

    def call(self, x: Any) -> Any:
        """Any shape to the same."""
        return ops.sign(x) * ops.sqrt(ops.abs(x))


@keras.saving.register_keras_serializable("darkroom")
class Kernel(keras.layers.Layer):
    """exp(-gamma |x - v|^2) for each of the kept vectors: (batch, n) to (batch, vectors)."""

    def __init__(self, vectors: int, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        self.count = vectors

    def build(self, shape: tuple[int, ...]) -> None:
        """Vectors (vectors, n) and gamma."""
        self.vectors = self.add_weight(shape=(self.count, shape[-1]), trainable=False, name="vectors")
        self.gamma = self.add_weight(shape=(), trainable=False, name="gamma")

    def call(self, x: Any) -> Any:
        """The kernel."""
        return ops.exp(-self.gamma * squared_distances(x, self.vectors))

    def get_config(self) -> dict[str, Any]:
        """What it takes to build the layer again."""
        return {**super().get_config(), "vectors": self.count}


@keras.saving.register_keras_serializable("darkroom")
class Neighbours(keras.layers.Layer):
    """Logarithm of the share of each class among the k nearest training rows, with half a vote for every class."""

    def __init__(self, vectors: int, classes: int, k: int, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        self.count, self.classes, self.k = vectors, classes, k

    def build(self, shape: tuple[int, ...]) -> None:
        """Training rows (vectors, n) and what each one's vote counts for each class (vectors, classes)."""
        self.vectors = self.add_weight(shape=(self.count, shape[-1]), trainable=False, name="vectors")
        self.votes = self.add_weight(shape=(self.count, self.classes), trainable=False, name="votes")

    def call(self, x: Any) -> Any:
        """(batch, n) to (batch, classes)."""
        _, nearest = ops.top_k(-squared_distances(x, self.vectors), self.k)
        votes = ops.sum(ops.take(self.votes, nearest, axis=0), axis=1) + 0.5
        return ops.log(votes / ops.sum(votes, axis=1, keepdims=True))

    def get_config(self) -> dict[str, Any]:
        """What it takes to build the layer again."""
        return {**super().get_config(), "vectors": self.count, "classes": self.classes, "k": self.k}


@keras.saving.register_keras_serializable("darkroom")
class Trees(keras.layers.Layer):
    """Logarithm of the mean over decision trees of the shares of classes in the leaf that a row comes to."""

    def __init__(self, roots: int, nodes: int, deepest: int, classes: int, floor: float, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        self.sizes: dict[str, Any] = {
            "roots": roots,
            "nodes": nodes,
            "deepest": deepest,
            "classes": classes,
            "floor": floor,
        }

    def build(self, shape: tuple[int, ...]) -> None:
        """All nodes of all trees in one list; a leaf is its own child."""
        roots, nodes, classes = (self.sizes[name] for name in ("roots", "nodes", "classes"))
        for name in ("feature", "left", "right"):
            whole = self.add_weight(shape=(nodes,), dtype="int32", initializer="zeros", trainable=False, name=name)
            setattr(self, name, whole)
        self.roots = self.add_weight(shape=(roots,), dtype="int32", initializer="zeros", trainable=False, name="roots")
        self.threshold = self.add_weight(shape=(nodes,), trainable=False, name="threshold")
        self.shares = self.add_weight(shape=(nodes, classes), trainable=False, name="shares")

    def call(self, x: Any) -> Any:
        """(batch, n) to (batch, classes): all rows go down all trees, a level at a time."""
        node = ops.tile(self.roots[None], (ops.shape(x)[0], 1))
        for _ in range(self.sizes["deepest"]):
            value = ops.take_along_axis(x, ops.take(self.feature, node), axis=1)
            left = value <= ops.take(self.threshold, node)
            node = ops.where(left, ops.take(self.left, node), ops.take(self.right, node))
        shares = ops.mean(ops.take(self.shares, node, axis=0), axis=1) + self.sizes["floor"]
        return ops.log(shares / ops.sum(shares, axis=1, keepdims=True))

    def get_config(self) -> dict[str, Any]:
        """What it takes to build the layer again."""
        return {**super().get_config(), **self.sizes}


def squared_distances(x: Any, vectors: Any) -> Any:
    """(batch, n) and (vectors, n) to (batch, vectors).

    About the vectors' centre, since far from 0 the difference of large products would be lost in float32.
    """
    centre = ops.mean(vectors, axis=0)
    x, vectors = x - centre, vectors - centre
    both = ops.sum(x * x, axis=1, keepdims=True) + ops.sum(vectors * vectors, axis=1)
    return ops.maximum(both - 2 * ops.matmul(x, ops.transpose(vectors)), 0.0)


_STEPS: dict[str, Any] = {
    "sqrt": SignedRoot,
    "l2": keras.layers.UnitNormalization,
    "each": keras.layers.Normalization,
    # One mean and one variance for all features: a scale for each would blow up those that hardly vary in training.
    "one": lambda name: keras.layers.Normalization(axis=None, name=name),
}
_KINDS = {
    "dense": _dense,
    "logistic": _linear,
    "linear_svm": _linear,
    "rbf_svm": _kernel,
    "knn": _neighbours,
    "tree": _trees,
    "forest": _trees,
}
