"""What heads of decision trees share: one layer with the nodes of all trees."""

from typing import Any

import numpy as np

from darkroom.models.heads.base import Classical, Fitted, Settings


class DecisionTrees(Classical):
    """A layer that sends every row down all trees."""

    counts_votes = True

    def build(self, settings: Settings, classes: int, x: Any) -> Any:
        """The layer."""
        from darkroom.models.heads.layers import Trees

        sizes = {name: settings["fitted"][name] for name in ("roots", "nodes", "deepest", "floor")}
        return Trees(classes=classes, **sizes, name="classifier")(x)


def nodes(trees: list[tuple[Any, np.ndarray]], floor: float) -> Fitted:
    """The nodes of all trees in one list.

    Args:
        trees: scikit-learn's `tree_` of each, with the shares of the classes at its nodes (nodes, classes).
        floor: added to every share, so that none is 0.
    """
    counts = [tree.node_count for tree, _ in trees]
    roots = np.cumsum([0, *counts[:-1]])

    def children(name: str) -> np.ndarray:
        """Numbers of the children of all nodes; a leaf, which has none, is its own."""
        return np.concatenate(
            [
                root + np.where(getattr(tree, name) < 0, np.arange(tree.node_count), getattr(tree, name))
                for (tree, _), root in zip(trees, roots, strict=True)
            ]
        )

    threshold = np.concatenate([tree.threshold for tree, _ in trees])
    single = threshold.astype(np.float32)
    # The largest float32 that is not above: then x <= threshold has the same answer for every float32 x.
    single = np.where(single > threshold, np.nextafter(single, np.float32(-np.inf)), single)
    weights = [
        np.maximum(np.concatenate([tree.feature for tree, _ in trees]), 0),
        children("children_left"),
        children("children_right"),
        roots,
        single,
        np.concatenate([shares for _, shares in trees]),
    ]
    deepest = max(tree.max_depth for tree, _ in trees)
    sizes = {"roots": len(trees), "nodes": sum(counts), "deepest": deepest, "floor": floor}
    return Fitted(sizes, {"classifier": weights})
