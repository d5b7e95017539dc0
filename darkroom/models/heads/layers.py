"""Keras layers of the heads, registered by name so that Keras finds them when it loads a model."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("darkroom")
class SignedRoot(keras.layers.Layer):
    """The square root of each value's magnitude, with the value's sign."""

    def call(self, x: Any) -> Any:
        """Any shape to the same."""
        return ops.sign(x) * ops.sqrt(ops.abs(x))


@keras.saving.register_keras_serializable("darkroom")
class Kernel(keras.layers.Layer):
    """Gaussian kernel exp(-gamma |x - v|^2) with each stored vector v: (batch, n) to (batch, vectors)."""

    def __init__(self, vectors: int, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        self.count = vectors

    def build(self, shape: tuple[int, ...]) -> None:
        """Add the vectors (vectors, n) and gamma."""
        self.vectors = self.add_weight(shape=(self.count, shape[-1]), trainable=False, name="vectors")
        self.gamma = self.add_weight(shape=(), trainable=False, name="gamma")

    def call(self, x: Any) -> Any:
        """Compute the kernel."""
        return ops.exp(-self.gamma * squared_distances(x, self.vectors))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild the layer."""
        return {**super().get_config(), "vectors": self.count}


@keras.saving.register_keras_serializable("darkroom")
class Neighbours(keras.layers.Layer):
    """Logarithm of each class's share of the votes of the k nearest training rows, with half a vote for every class."""

    def __init__(self, vectors: int, classes: int, k: int, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        self.count, self.classes, self.k = vectors, classes, k

    def build(self, shape: tuple[int, ...]) -> None:
        """Add the training rows (vectors, n), and the weight of each one's vote for each class (vectors, classes)."""
        self.vectors = self.add_weight(shape=(self.count, shape[-1]), trainable=False, name="vectors")
        self.votes = self.add_weight(shape=(self.count, self.classes), trainable=False, name="votes")

    def call(self, x: Any) -> Any:
        """(batch, n) to (batch, classes)."""
        _, nearest = ops.top_k(-squared_distances(x, self.vectors), self.k)
        votes = ops.sum(ops.take(self.votes, nearest, axis=0), axis=1) + 0.5
        return ops.log(votes / ops.sum(votes, axis=1, keepdims=True))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild the layer."""
        return {**super().get_config(), "vectors": self.count, "classes": self.classes, "k": self.k}


@keras.saving.register_keras_serializable("darkroom")
class Trees(keras.layers.Layer):
    """Logarithm of the classes' shares in the leaves that a row reaches, averaged over decision trees."""

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
        """Add the nodes of all trees, one after the other; a leaf is its own child."""
        roots, nodes, classes = (self.sizes[name] for name in ("roots", "nodes", "classes"))
        for name in ("feature", "left", "right"):
            weight = self.add_weight(shape=(nodes,), dtype="int32", initializer="zeros", trainable=False, name=name)
            setattr(self, name, weight)
        self.roots = self.add_weight(shape=(roots,), dtype="int32", initializer="zeros", trainable=False, name="roots")
        self.threshold = self.add_weight(shape=(nodes,), trainable=False, name="threshold")
        self.shares = self.add_weight(shape=(nodes, classes), trainable=False, name="shares")

    def call(self, x: Any) -> Any:
        """(batch, n) to (batch, classes): all rows descend all trees, one level at a time."""
        node = ops.tile(self.roots[None], (ops.shape(x)[0], 1))
        for _ in range(self.sizes["deepest"]):
            value = ops.take_along_axis(x, ops.take(self.feature, node), axis=1)
            left = value <= ops.take(self.threshold, node)
            node = ops.where(left, ops.take(self.left, node), ops.take(self.right, node))
        shares = ops.mean(ops.take(self.shares, node, axis=0), axis=1) + self.sizes["floor"]
        return ops.log(shares / ops.sum(shares, axis=1, keepdims=True))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild the layer."""
        return {**super().get_config(), **self.sizes}


def squared_distances(x: Any, vectors: Any) -> Any:
    """Squared distances of rows (batch, n) from vectors (vectors, n): (batch, vectors).

    Both are shifted by the vectors' mean: far from 0 the difference of large products would be lost in float32.
    """
    centre = ops.mean(vectors, axis=0)
    x, vectors = x - centre, vectors - centre
    both = ops.sum(x * x, axis=1, keepdims=True) + ops.sum(vectors * vectors, axis=1)
    return ops.maximum(both - 2 * ops.matmul(x, ops.transpose(vectors)), 0.0)
