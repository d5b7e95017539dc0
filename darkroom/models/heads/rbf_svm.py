"""Head `rbf_svm`: support vector machines with a Gaussian kernel."""

from typing import Any

import numpy as np

from darkroom.models.heads.base import Classical, Data, Fitted, Fitter, Settings, register, require_memory_of
from darkroom.models.heads.linear import PenaltySettings


@register
class RBFSVM(Classical):
    """scikit-learn's SVC for each class against the rest; the decision values are the scores."""

    name = "rbf_svm"
    position = 3
    settings = PenaltySettings
    prepare = ("sqrt", "l2")
    knob = "C"
    usual = 3.0
    limits = (1e-1, 1e3)

    def build(self, settings: Settings, classes: int, x: Any) -> Any:
        """The kernel, then a dense layer."""
        import keras

        from darkroom.models.heads.layers import Kernel

        return keras.layers.Dense(classes, name="classifier")(Kernel(settings["fitted"]["vectors"], name="kernel")(x))

    def fitter(self, data: Data, settings: Settings) -> Fitter:
        """Fit with a penalty C; gamma is scikit-learn's `scale`.

        The kernel of all pairs of rows is one matrix product, many times faster than scikit-learn's loop.
        """
        from keras import ops
        from sklearn.svm import SVC

        from darkroom.models.heads.layers import squared_distances

        require_memory_of(self.name, 3 * 8 * len(data.x) ** 2, data.x.shape)
        spread = data.x.shape[1] * data.x.var(dtype=np.float64)
        gamma = np.array(1 / spread if spread else 1.0, np.float32)
        kernel = np.exp(-gamma * ops.convert_to_numpy(squared_distances(data.x, data.x))).astype(np.float64)
        classes = len(data.weights)

        def fit(c: float) -> Fitted:
            coefficients = np.zeros((len(data.x), classes))
            intercepts = np.zeros(classes)
            for number in range(classes) if classes > 2 else [1]:
                machine = SVC(kernel="precomputed", C=c, cache_size=1000)
                machine.fit(kernel, data.y == number, sample_weight=data.weights[data.y])
                coefficients[machine.support_, number] = machine.dual_coef_[0]
                intercepts[number] = machine.intercept_[0]
            # Class by class, the coefficients would first be all positive, then all negative: sums of hundreds on the
            # way to a few units, which in float32 cost ten times the precision of sums in a random order.
            used = np.random.default_rng(0).permutation(np.flatnonzero(coefficients.any(axis=1)))
            return Fitted(
                {"vectors": len(used)},
                {"kernel": [data.x[used], gamma], "classifier": [coefficients[used], intercepts]},
            )

        return fit
