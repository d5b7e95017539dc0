"""The interval of a share."""


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of `right` in `count` (Wilson, Probable inference, the law of succession, 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(right, count).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
