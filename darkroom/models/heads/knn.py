"""Head `knn`: the k nearest training pictures vote."""

from typing import Any

import numpy as np
from pydantic import Field

from darkroom.core.params import Count, Section
from darkroom.models.heads.base import Classical, Data, Fitted, Fitter, Settings, register


class NeighboursSettings(Section):
    """Its keys of `train.head`."""

    neighbours: list[Count] = Field([5, 10, 15, 20, 30], min_length=1, max_length=100)


@register
class KNN(Classical):
    """k-nearest neighbours; a vote counts as much as its class weighs."""

    name = "knn"
    position = 4
    settings = NeighboursSettings
    prepare = ("sqrt", "l2")
    knob = "neighbours"
    usual = 10
    limits = (1, 100)
    counts_votes = True

    def build(self, settings: Settings, classes: int, x: Any) -> Any:
        """The layer."""
        from darkroom.models.heads.layers import Neighbours

        fitted = settings["fitted"]
        return Neighbours(fitted["vectors"], classes, fitted["neighbours"], name="classifier")(x)

    def fitter(self, data: Data, settings: Settings) -> Fitter:
        """Keep all training rows, and the number of neighbours."""
        votes = np.eye(len(data.weights), dtype=np.float32)[data.y] * data.weights

        def fit(k: int) -> Fitted:
            k = min(k, len(data.x))
            return Fitted({"vectors": len(data.x), "neighbours": k}, {"classifier": [data.x, votes]})

        return fit
