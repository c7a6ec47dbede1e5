import math

import numpy as np
import pytest
from scipy import stats

from noiseproof.results.statistics import holm, paired_test, sign_test


def test_paired_test_is_scipys() -> None:
    generator = np.random.default_rng(1)
    second = generator.uniform(0.4, 0.9, size=10)
    first = second + generator.normal(0.02, 0.02, size=10)
    found = paired_test(first, second)
    theirs = stats.ttest_rel(first, second)
    low, high = theirs.confidence_interval(0.95)
    assert found.p_value == pytest.approx(theirs.pvalue)
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    assert found.interval.mean == pytest.approx(np.mean(first - second))


def test_what_seeds_have_in_common_does_not_count() -> None:
    # Seeds differ by 0.3, the optimizers by 0.01 to 0.03 in each: the unpaired test is blind.
    second = np.array([0.2, 0.5, 0.8])
    first = second + np.array([0.01, 0.02, 0.03])
    assert paired_test(first, second).interval.low == pytest.approx(
        0.02 - 4.302653 * 0.01 / math.sqrt(3), rel=1e-5
    )


def test_one_seed_has_no_interval() -> None:
    found = paired_test(np.array([0.7]), np.array([0.6]))
    assert found.interval.mean == pytest.approx(0.1)
    assert found.interval.n == 1
    assert math.isnan(found.interval.low)
    assert math.isnan(found.interval.high)
    assert math.isnan(found.p_value)


def test_equal_differences_have_an_interval_of_no_width() -> None:
    equal = paired_test(np.array([0.5, 0.5]), np.array([0.5, 0.5]))
    assert (equal.interval.low, equal.interval.high, equal.p_value) == (0.0, 0.0, 1.0)
    # Three times 0.1 has a sample deviation of 1e-17 by rounding, not of zero.
    better = paired_test(np.full(3, 0.1), np.zeros(3))
    assert better.interval.low == better.interval.high == pytest.approx(0.1)
    assert better.p_value == 0.0


def test_single_precision_is_judged_in_double() -> None:
    first = np.array([0.7, 0.8, 0.75], np.float32)
    second = np.array([0.6, 0.65, 0.7], np.float32)
    wide = paired_test(first.astype(np.float64), second.astype(np.float64))
    assert paired_test(first, second) == wide


def test_holm_by_hand() -> None:
    # Sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04; none below a smaller one's:
    # .02 .03 .06 .06.
    found = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert found.tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_never_exceeds_one_and_keeps_one_test_as_it_is() -> None:
    assert holm(np.array([0.6, 0.9])).tolist() == [1.0, 1.0]
    assert holm(np.array([0.03])).tolist() == [0.03]
    assert holm(np.array([])).tolist() == []


def test_a_test_that_could_not_be_made_counts_among_the_tests() -> None:
    found = holm(np.array([math.nan, 0.02, 0.01]))
    assert math.isnan(found[0])
    assert found[1:].tolist() == pytest.approx([0.04, 0.03])


def test_holm_bounds_the_chance_of_any_false_finding() -> None:
    # 2,000 families of 6 tests without effect: at most 5% have a finding, plus four standard
    # errors, 4 * sqrt(.05 * .95 / 2000) = .0195. Without adjustment 1 - .95**6 = 26% have one.
    families = np.random.default_rng(2).uniform(size=(2000, 6))
    share = np.mean([holm(family).min() < 0.05 for family in families])
    assert share < 0.05 + 0.0195


@pytest.mark.parametrize("p_value", [-0.1, 1.1])
def test_p_values_must_be_shares(p_value: float) -> None:
    with pytest.raises(ValueError, match=r"p_values must be in \[0, 1\], got"):
        holm(np.array([0.5, p_value]))


def test_sign_test_of_known_counts() -> None:
    # 9 of 10: 2 * (10 + 1) / 2**10. Zeros are left out. 5 of 10 is as even as can be.
    assert sign_test(np.array([0.1] * 9 + [-0.1])) == pytest.approx(22 / 1024)
    assert sign_test(np.array([0.1] * 9 + [-0.1] + [0.0] * 5)) == pytest.approx(22 / 1024)
    assert sign_test(np.array([0.1, -0.1] * 5)) == 1.0
    assert sign_test(np.zeros(3)) == 1.0


def test_sign_test_needs_finite_differences() -> None:
    with pytest.raises(ValueError, match="differences must be finite"):
        sign_test(np.array([0.1, math.nan]))
