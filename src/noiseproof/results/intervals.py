"""A mean over seeds and its interval: no number is printed without its n and its spread."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

LEVEL = 0.95
"""The share of intervals that hold the true mean."""


class Interval(NamedTuple):
    """A mean and its t interval.

    Attributes:
        mean: Mean of the values, in their unit.
        low: Lower end of the interval; NaN when `n` is 1.
        high: Upper end of the interval; NaN when `n` is 1.
        n: How many values there were.
    """

    mean: float
    low: float
    high: float
    n: int


def mean_interval(values: Float[np.ndarray, " seeds"]) -> Interval:
    """The mean of `values`, one per seed, and its Student t interval.

    Without variance the interval is the mean itself; one value alone has no interval (NaN).

    Raises:
        ValueError: `values` is empty or not finite.
    """
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"values must be one or more finite numbers, got {values.tolist()}.")
    values = values.astype(np.float64)
    mean, n = float(values.mean()), values.size
    if n == 1:
        return Interval(mean, float("nan"), float("nan"), 1)
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * standard_error(values)
    return Interval(mean, mean - half, mean + half, n)


def ratio_interval(
    above: Float[np.ndarray, " seeds"], below: Float[np.ndarray, " seeds"]
) -> Interval:
    """The ratio of two means over the same seeds and its interval (Fieller, 1954, JRSS B 16).

    Where the lower mean may be zero there is no bound: the interval is from -infinity to infinity.

    Args:
        above: One value per seed, finite.
        below: One value per seed, seeds as in `above`.

    Raises:
        ValueError: There are fewer than two seeds, or the mean below is zero.
    """
    n = above.size
    if n < 2 or below.size != n or below.mean() == 0:
        raise ValueError(f"A ratio needs two seeds and a mean below that is not 0, got {n}.")
    a, b = float(above.mean()), float(below.mean())
    (var_a, cov), (_, var_b) = (np.cov(above, below) / n).tolist()
    t = float(stdtrit(n - 1, (1 + LEVEL) / 2))
    # The ratios r for which the mean of a - r b is not further from zero than chance has it are
    # those between the roots of (a - r b)² = t² (var a - 2 r cov + r² var b).
    lead, middle, last = b * b - t * t * var_b, a * b - t * t * cov, a * a - t * t * var_a
    if lead <= 0:
        return Interval(a / b, -np.inf, np.inf, n)
    half = max(middle * middle - lead * last, 0.0) ** 0.5
    return Interval(a / b, (middle - half) / lead, (middle + half) / lead, n)


def standard_error(values: Float[np.ndarray, " seeds"]) -> float:
    """Of the mean; zero where all values are the same number, in spite of rounding."""
    if values.size == 1 or (values == values[0]).all():
        return 0.0
    return float(values.std(ddof=1) / np.sqrt(values.size))
