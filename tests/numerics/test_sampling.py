"""The cheap random numbers are as random as the corruptions need: moments, tails, independence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from noiseproof.numerics import sampling

NUM = 1_000_000


def draw(function, seed=0):
    return np.asarray(function(jax.random.key(seed)))


def test_bytes_of_the_bits_are_uniform():
    words = draw(lambda key: sampling.bits((NUM,), key))
    for shift in (0, 8, 16, 24):
        counts = np.bincount((words >> shift) & 255, minlength=256)
        # The statistic has mean 255 and variance 2 · 255 under uniformity: four standard errors.
        statistic = ((counts - NUM / 256) ** 2 / (NUM / 256)).sum()
        assert abs(statistic - 255) < 4 * np.sqrt(2 * 255)


@pytest.mark.parametrize("lag", [1, 2, 3, 32, 96, 1024])
def test_neighbors_in_a_stream_are_uncorrelated(lag):
    z = draw(lambda key: sampling.normal((NUM,), key))
    for power in (1, 2):
        # The correlation of independent pairs has a standard error of 1 / sqrt(pairs).
        correlation = np.corrcoef(z[:-lag] ** power, z[lag:] ** power)[0, 1]
        assert abs(correlation) < 4 / np.sqrt(NUM - lag)


@pytest.mark.parametrize("source", ["seeds", "split"])
def test_streams_of_neighboring_keys_are_uncorrelated(source):
    seeds = jax.vmap(jax.random.key)(jnp.arange(2000))
    keys = seeds if source == "seeds" else jax.random.split(seeds[0], 2000)
    z = np.asarray(jax.jit(jax.vmap(lambda key: sampling.normal((512,), key)))(keys))
    covariance = (z[:-1] * z[1:]).mean()
    # A product of two independent standard normals has variance 1.
    assert abs(covariance) < 4 / np.sqrt(z[1:].size)
    # The spread of a whole position over streams: its mean square has variance 2 / streams.
    assert np.abs((z**2).mean(axis=0) - 1).max() < 5 * np.sqrt(2 / len(z))


def test_normal_numbers_have_a_normal_distribution():
    z = draw(lambda key: sampling.normal((NUM,), key))
    assert stats.kstest(z, "norm").statistic < 1.95 / np.sqrt(NUM)  # 0.1% level of Kolmogorov
    for order, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        # var(z^k) = E z^2k - (E z^k)^2
        assert abs((z**order).mean() - moment) < 4 * np.sqrt(variance / NUM)
    tail = (np.abs(z) > 4).mean()
    expected = 2 * stats.norm.sf(4)
    assert abs(tail - expected) < 4 * np.sqrt(expected / NUM)


def test_uniform_numbers_stay_inside_the_open_interval():
    u = draw(lambda key: sampling.uniform((NUM,), key))
    assert u.min() > -1
    assert u.max() < 1
    assert stats.kstest(u, "uniform", (-1, 2)).statistic < 1.95 / np.sqrt(NUM)


@pytest.mark.parametrize("mean", [0.0, 0.01, 0.5, 3.0, 7.9, 8.1, 12.0, 30.0, 100.0, 500.0])
def test_poisson_counts_have_the_mean_variance_and_distribution(mean):
    counts = draw(lambda key: sampling.poisson(jnp.full((NUM,), mean), key))
    # The fourth central moment of a Poisson variable is mean + 3 mean^2.
    assert abs(counts.mean() - mean) <= 4 * np.sqrt(mean / NUM)
    spread = 4 * np.sqrt((mean + 2 * mean**2) / NUM)
    assert abs(counts.var() - mean) <= spread + 1e-3 * mean
    levels = np.arange(int(mean + 10 * np.sqrt(mean)) + 10)
    observed = np.bincount(counts.astype(int), minlength=len(levels))[: len(levels)] / NUM
    expected = stats.poisson.pmf(levels, mean)
    # Half the sum of absolute deviations is at most half the sum of standard errors, times the
    # mean of |N(0, 1)|; four times that, and the 0.001 that the docstring admits.
    noise = 0.5 * np.sqrt(2 / np.pi) * np.sqrt(expected / NUM).sum()
    assert 0.5 * np.abs(observed - expected).sum() < 4 * noise + 1e-3
