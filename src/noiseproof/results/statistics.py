"""Paired comparison of two optimizers over seeds, and many comparisons at once.

Under one seed every optimizer meets the same initial weights, batches and corrupted images, so
that the difference within a seed is free of what the seeds have in common. Its mean over seeds is
judged by Student's t; several corruptions together by Holm's step-down rule (S. Holm, A simple
sequentially rejective multiple test procedure, Scandinavian Journal of Statistics, 1979); a whole
suite of corruptions by the sign test.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import bdtr, stdtr

from noiseproof.results.intervals import Interval, mean_interval, standard_error


class PairedTest(NamedTuple):
    """The mean of differences within pairs, and how far from zero it is.

    Attributes:
        interval: Mean difference, first minus second, with its t interval.
        p_value: Two-sided p value of a difference of zero; NaN when there is one pair.
    """

    interval: Interval
    p_value: float


def paired_test(
    first: Float[np.ndarray, " seeds"],
    second: Float[np.ndarray, " seeds"],
) -> PairedTest:
    """Compare two optimizers over the same seeds, in the same order.

    Where all differences are equal, the p value is 1 if they are zero and else 0.

    Args:
        first: One value per seed.
        second: One value per seed, seeds as in `first`.

    Raises:
        ValueError: A value is not finite, or there is none.
    """
    differences = first.astype(np.float64) - second.astype(np.float64)
    interval = mean_interval(differences)
    error = standard_error(differences)
    if interval.n == 1:
        return PairedTest(interval, float("nan"))
    if error == 0:
        return PairedTest(interval, 1.0 if interval.mean == 0 else 0.0)
    # Of numbers so near each other that their spread is lost in rounding the ratio may overflow.
    with np.errstate(over="ignore"):
        ratio = np.float64(abs(interval.mean)) / error
    return PairedTest(interval, float(2 * stdtr(interval.n - 1, -ratio)))


def holm(p_values: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Adjust p values of several tests so that the chance of any false finding is bounded.

    The k-th smallest of m (from 0) is multiplied by m - k; none may fall below a smaller one's
    adjusted value, nor exceed 1. A NaN (a test that could not be made) stays NaN, yet counts
    among the m: not to know is no ground for judging the others more mildly.

    Raises:
        ValueError: A p value is outside [0, 1].
    """
    if ((p_values < 0) | (p_values > 1)).any():
        raise ValueError(f"p_values must be in [0, 1], got {p_values.tolist()}.")
    order = np.argsort(p_values)  # NaN last, where it raises no other
    stepped = p_values[order].astype(np.float64) * np.arange(p_values.size, 0, -1)
    adjusted = np.empty(p_values.size)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def sign_test(differences: Float[np.ndarray, " corruptions"]) -> float:
    """The two-sided p value of as many, or more, differences of one sign if both were as likely.

    Zeros say nothing about the sign and are left out; with nothing left the p value is 1.

    Args:
        differences: One per corruption, finite.

    Raises:
        ValueError: A difference is not finite.
    """
    if not np.isfinite(differences).all():
        raise ValueError(f"differences must be finite, got {differences.tolist()}.")
    num_better, num_worse = int((differences > 0).sum()), int((differences < 0).sum())
    if num_better + num_worse == 0:
        return 1.0
    # Both tails are alike, and overlap where as many are better as worse.
    tail = float(bdtr(min(num_better, num_worse), num_better + num_worse, 0.5))
    return min(1.0, 2 * tail)
