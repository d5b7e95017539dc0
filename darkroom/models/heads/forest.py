"""Head `forest`: a random forest."""

from typing import Annotated

from pydantic import Field

from darkroom.core.parallel import cores
from darkroom.core.params import Section
from darkroom.models.heads.base import Data, Fitted, Fitter, Settings, register
from darkroom.models.heads.trees import DecisionTrees, nodes


class ForestSettings(Section):
    """Its keys of `train.head`."""

    trees: list[Annotated[int, Field(ge=1, le=10_000)]] = Field([300], min_length=1, max_length=100)


@register
class Forest(DecisionTrees):
    """scikit-learn's RandomForestClassifier."""

    name = "forest"
    position = 6
    settings = ForestSettings
    prepare = ("sqrt", "l2")
    knob = "trees"
    usual = 300
    limits = (50, 400)

    def fitter(self, data: Data, settings: Settings) -> Fitter:
        """Grow so many trees."""
        from sklearn.ensemble import RandomForestClassifier

        def fit(count: int) -> Fitted:
            model = RandomForestClassifier(
                count, n_jobs=cores(), random_state=data.seed, class_weight=data.class_weight
            )
            trees = [estimator.tree_ for estimator in model.fit(data.x, data.y).estimators_]
            return nodes([(tree, tree.value[:, 0]) for tree in trees], floor=1.0 / count)

        return fit
