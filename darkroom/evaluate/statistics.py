"""Statistics of the right answers of one model, and of two models on the same pictures."""

import math
from dataclasses import dataclass

import numpy as np

from darkroom.core.metric_table import Estimate

SIGNIFICANT = 0.05  # p-values below this are not put down to chance
SMALLEST = 5e-7  # what a probability written as 0 with six decimals may be at most


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of the proportion `right` / `count`.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    from scipy.stats import binomtest

    interval = binomtest(right, count).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def accuracy(right: int, count: int) -> Estimate:
    """The share of pictures that are classified correctly, with Wilson's interval."""
    return Estimate(right / count, *wilson(right, count))


def log_losses(probabilities: np.ndarray) -> np.ndarray:
    """The log loss of each picture (pictures,), from the probabilities of the true labels as predictions.csv has them.

    Unlike `metrics.losses`, which takes full precision, a probability that was rounded to 0 counts as `SMALLEST`.
    """
    return -np.log(np.maximum(probabilities, SMALLEST))


def mean_difference(first: np.ndarray, second: np.ndarray) -> Estimate:
    """The mean of `second` minus `first` (pictures,), with Student's paired interval (1908); none for one picture."""
    from scipy.stats import sem, t

    change = second - first
    value = float(change.mean())
    if len(change) < 2:
        return Estimate(value)
    half = float(t.ppf(0.975, len(change) - 1) * sem(change))
    return Estimate(value, value - half, value + half)


@dataclass(frozen=True)
class Paired:
    """How many pictures both models classify correctly, only the first one, only the second one, and neither."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @classmethod
    def of(cls, first: np.ndarray, second: np.ndarray) -> "Paired":
        """Count, from whether each model is right on each picture: two boolean arrays (pictures,)."""
        cells = (first & second, first & ~second, ~first & second, ~first & ~second)
        return cls(*(int(cell.sum()) for cell in cells))

    @property
    def count(self) -> int:
        """Number of pictures."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def first(self) -> Estimate:
        """Accuracy of the first model."""
        return accuracy(self.both + self.only_first, self.count)

    @property
    def second(self) -> Estimate:
        """Accuracy of the second model."""
        return accuracy(self.both + self.only_second, self.count)

    @property
    def difference(self) -> Estimate:
        """Accuracy of the second model minus that of the first.

        The 95 % interval is method 10 of R. G. Newcombe, Improved confidence intervals for the difference between
        binomial proportions based on paired data, 1998: the Wilson intervals of both, combined by their correlation.
        """
        right_second, right_first = self.both + self.only_second, self.both + self.only_first
        low_second, high_second = wilson(right_second, self.count)
        low_first, high_first = wilson(right_first, self.count)
        product: float = self.both * self.neither - self.only_first * self.only_second
        if product > 0:
            product = max(product - self.count / 2, 0)  # the paper's continuity correction
        margins = math.prod(margin for right in (right_second, right_first) for margin in (right, self.count - right))
        correlation = product / math.sqrt(margins) if margins else 0.0

        def distance(down: float, up: float) -> float:
            return math.sqrt(down**2 - 2 * correlation * down * up + up**2)

        second, first = right_second / self.count, right_first / self.count
        value = (self.only_second - self.only_first) / self.count
        return Estimate(
            value,
            value - distance(second - low_second, high_first - first),
            value + distance(high_second - second, first - low_first),
        )

    @property
    def p(self) -> float:
        """The p-value of McNemar's test, in its exact form: both models are equally good.

        Q. McNemar, Note on the sampling error of the difference between correlated proportions or percentages, 1947.
        Under that hypothesis, a picture on which only one model is right is equally likely to be either's.
        """
        from scipy.stats import binomtest

        discordant = self.only_first + self.only_second
        return float(binomtest(self.only_first, discordant).pvalue) if discordant else 1.0
