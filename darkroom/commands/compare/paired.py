"""Two models on the same pictures: are they as good as each other, or is the difference more than chance?"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from darkroom.evaluate.intervals import wilson

SURE = 0.05  # a difference whose p-value is below this is not taken for chance
LEAST = 5e-7  # probabilities are written with six digits: what is written as 0 may be as much as this


class Interval(NamedTuple):
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, sign: str = "") -> str:
        """With four digits; `sign` is + for a difference."""
        return f"{self.value:{sign}.4f}, 95 % interval {self.low:{sign}.4f} to {self.high:{sign}.4f}"


@dataclass(frozen=True)
class Paired:
    """How many pictures both models get right, only the first one, only the second one, and neither."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @classmethod
    def of(cls, first: np.ndarray, second: np.ndarray) -> "Paired":
        """Count. Both arrays say of each picture (pictures,) whether the model was right."""
        cells = (first & second, first & ~second, ~first & second, ~first & ~second)
        return cls(*(int(cell.sum()) for cell in cells))

    @property
    def count(self) -> int:
        """Pictures."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def first(self) -> Interval:
        """Accuracy of the first model."""
        return accuracy(self.both + self.only_first, self.count)

    @property
    def second(self) -> Interval:
        """Accuracy of the second model."""
        return accuracy(self.both + self.only_second, self.count)

    @property
    def difference(self) -> Interval:
        """Accuracy of the second model minus that of the first.

        The interval is method 10 of R. G. Newcombe, "Improved confidence intervals for the difference between binomial
        proportions based on paired data" (1998): the Wilson intervals of both, joined by their correlation.
        """
        one, two = self.second, self.first
        product: float = self.both * self.neither - self.only_first * self.only_second
        if product > 0:
            product = max(product - self.count / 2, 0)  # his continuity correction
        right = (self.both + self.only_second, self.both + self.only_first)
        margins = math.prod(margin for number in right for margin in (number, self.count - number))
        correlation = product / math.sqrt(margins) if margins else 0.0

        def distance(down: float, up: float) -> float:
            return math.sqrt(down**2 - 2 * correlation * down * up + up**2)

        value = (self.only_second - self.only_first) / self.count
        low = value - distance(one.value - one.low, two.high - two.value)
        return Interval(value, low, value + distance(one.high - one.value, two.value - two.low))

    @property
    def p(self) -> float:
        """Probability of a difference at least as large if both were equally good.

        The exact form of Q. McNemar's test, "Note on the sampling error of the difference between correlated
        proportions or percentages" (1947): of the pictures that one model alone gets right, either gets as many.
        """
        from scipy.stats import binomtest

        alone = self.only_first + self.only_second
        return float(binomtest(self.only_first, alone).pvalue) if alone else 1.0


def accuracy(right: int, count: int) -> Interval:
    """Share of pictures that are right, with its interval."""
    return Interval(right / count, *wilson(right, count))


def losses(probabilities: np.ndarray) -> np.ndarray:
    """Each picture's log loss, of the probabilities (pictures,) that a model gives to the true labels."""
    return -np.log(np.maximum(probabilities, LEAST))


def mean_difference(first: np.ndarray, second: np.ndarray) -> Interval:
    """Mean of `second` minus `first` (pictures,), with Student's paired interval (1908)."""
    from scipy.stats import sem, t

    change = second - first
    half = float(t.ppf(0.975, len(change) - 1) * sem(change)) if len(change) > 1 else math.inf
    value = float(change.mean())
    return Interval(value, value - half, value + half)
