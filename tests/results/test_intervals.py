import math

import numpy as np
import pytest

from noiseproof.results import mean_interval, ratio_interval


def test_interval_of_known_values() -> None:
    # Mean 3, sample variance 10/4 = 2.5, standard error sqrt(2.5/5) = sqrt(.5); the 97.5%
    # quantile of t with 4 degrees of freedom is 2.776445 in published tables.
    found = mean_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    half = 2.776445 * math.sqrt(0.5)
    assert found.mean == 3.0
    assert found.low == pytest.approx(3 - half, rel=1e-6)
    assert found.high == pytest.approx(3 + half, rel=1e-6)
    assert found.n == 5


def test_interval_holds_the_mean_as_often_as_it_says() -> None:
    # A normal quantile in place of t's would hold it in 88% of samples of 5. Share of 4,000
    # samples: standard error sqrt(.95 * .05 / 4000) = .0034, four of them .0138.
    samples = np.random.default_rng(0).normal(size=(4000, 5))
    intervals = [mean_interval(sample) for sample in samples]
    share = np.mean([interval.low <= 0 <= interval.high for interval in intervals])
    assert share == pytest.approx(0.95, abs=0.0138)


@pytest.mark.parametrize("values", [[], [0.5, math.nan], [math.inf]])
def test_values_must_be_finite(values: list[float]) -> None:
    with pytest.raises(ValueError, match="values must be one or more finite numbers"):
        mean_interval(np.array(values, np.float64))


def test_one_value_has_no_interval() -> None:
    found = mean_interval(np.array([0.7]))
    assert (found.mean, found.n) == (0.7, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_a_ratio_over_a_constant_is_a_mean_over_it() -> None:
    above = np.array([1.0, 2.0, 4.0])
    found, plain = ratio_interval(above, np.full(3, 2.0)), mean_interval(above)
    np.testing.assert_allclose(found[:3], np.array(plain[:3]) / 2)


def test_a_ratio_lies_between_the_ratios_that_chance_allows() -> None:
    """Fieller: at either end the mean of above - end × below is just as far from 0 as t allows."""
    generator = np.random.default_rng(0)
    below = 1.0 + 0.3 * generator.normal(size=8)
    above = 0.8 * below + 0.1 * generator.normal(size=8)
    found = ratio_interval(above, below)
    assert found.low < found.mean < found.high
    for end in (found.low, found.high):
        interval = mean_interval(above - end * below)
        assert min(abs(interval.low), abs(interval.high)) == pytest.approx(0.0, abs=1e-9)


def test_a_ratio_over_what_may_be_zero_has_no_bounds() -> None:
    found = ratio_interval(np.array([1.0, 2.0]), np.array([-1.0, 1.5]))
    assert (found.low, found.high) == (-np.inf, np.inf)
    with pytest.raises(ValueError, match="needs two seeds"):
        ratio_interval(np.array([1.0]), np.array([1.0]))
