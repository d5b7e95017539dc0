"""Head `tree`: a decision tree."""

from pydantic import Field

from darkroom.core.params import Count, Section
from darkroom.models.heads.base import Data, Fitted, Fitter, Settings, register
from darkroom.models.heads.trees import DecisionTrees, nodes


class TreeSettings(Section):
    """Its keys of `train.head`."""

    leaf: list[Count] = Field([5, 10, 20, 50], min_length=1, max_length=100)


@register
class Tree(DecisionTrees):
    """scikit-learn's DecisionTreeClassifier."""

    name = "tree"
    position = 5
    settings = TreeSettings
    prepare = ("l2",)
    knob = "leaf"
    usual = 10
    limits = (1, 100)

    def fitter(self, data: Data, settings: Settings) -> Fitter:
        """Grow a tree with so many pictures in a leaf at least."""
        from sklearn.tree import DecisionTreeClassifier

        def fit(leaf: int) -> Fitted:
            model = DecisionTreeClassifier(
                min_samples_leaf=leaf, random_state=data.seed, class_weight=data.class_weight
            )
            tree = model.fit(data.x, data.y).tree_
            samples = tree.weighted_n_node_samples[:, None]
            # Laplace's rule of succession: a leaf with few pictures is less certain than one with many.
            return nodes([(tree, (tree.value[:, 0] * samples + 1) / (samples + len(data.weights)))], floor=0.0)

        return fit
