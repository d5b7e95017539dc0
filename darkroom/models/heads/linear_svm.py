"""Head `linear_svm`: a linear support vector machine."""

from darkroom.models.heads.base import Data, Fitted, Fitter, Settings, register
from darkroom.models.heads.linear import Linear, columns


@register
class LinearSVM(Linear):
    """scikit-learn's LinearSVC, one class against the rest."""

    name = "linear_svm"
    position = 2
    prepare = ("sqrt", "l2")
    usual = 1.0
    limits = (1e-3, 1e2)

    def fitter(self, data: Data, settings: Settings) -> Fitter:
        """Fit with a penalty C."""
        from sklearn.svm import LinearSVC

        def fit(c: float) -> Fitted:
            model = LinearSVC(C=c, dual="auto", class_weight=data.class_weight, random_state=data.seed)
            model.fit(data.x, data.y)
            return Fitted({}, {"classifier": columns(model.coef_, model.intercept_)})

        return fit
