"""Head `logistic`: logistic regression."""

from darkroom.models.heads.base import Data, Fitted, Fitter, Settings, register
from darkroom.models.heads.linear import Linear, columns


@register
class Logistic(Linear):
    """scikit-learn's LogisticRegression."""

    name = "logistic"
    position = 1
    prepare = ("sqrt", "l2")
    usual = 10.0
    limits = (1e-3, 1e3)

    def fitter(self, data: Data, settings: Settings) -> Fitter:
        """Fit with a penalty C."""
        from sklearn.linear_model import LogisticRegression

        def fit(c: float) -> Fitted:
            model = LogisticRegression(C=c, max_iter=1000, class_weight=data.class_weight).fit(data.x, data.y)
            return Fitted({}, {"classifier": columns(model.coef_, model.intercept_)})

        return fit
