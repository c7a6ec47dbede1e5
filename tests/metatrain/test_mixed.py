"""The mixture of evolution strategies and backpropagation: both limits, and what it is between."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.inner_loop import Losses
from noiseproof.metatrain import full_backprop, mixed, tes
from noiseproof.metatrain.mixed import TwoGradients, combine_mixed

NUM_PAIRS = 6
DRAWS = np.random.default_rng(0).normal(size=(2, NUM_PAIRS, 3)).astype(np.float32)


def combined(across, through, finite=None):
    finite = np.ones(NUM_PAIRS, bool) if finite is None else np.asarray(finite)
    ones = jnp.ones((NUM_PAIRS, 2, 1))
    losses = Losses(ones, ones, jnp.stack([finite, finite], axis=1))
    two = TwoGradients({"a": jnp.asarray(across)}, {"a": jnp.asarray(through)})
    return combine_mixed(two, losses)


def test_each_coordinate_is_weighted_by_its_own_inverse_variance():
    """Against the sum over pairs of both, each over its variance, in double precision."""
    across, through = DRAWS * np.array([1.0, 2.0, 0.5], np.float32) + 1
    through = 2 * through
    found = combined(across, through)
    weights = 1 / across.astype(float).var(axis=0), 1 / through.astype(float).var(axis=0)
    expected = (weights[0] * across.mean(axis=0) + weights[1] * through.mean(axis=0)) / sum(weights)
    np.testing.assert_allclose(found.gradient["a"], expected, rtol=1e-5)


@pytest.mark.parametrize("size", [1e6, 1e15])
def test_the_limits_are_either_gradient(size):
    """Where one varies a million times as much the other is taken, coordinate by coordinate."""
    scales = np.array([size, 1.0, size], np.float32)
    across, through = DRAWS[0] * scales, DRAWS[1] * (size / scales)
    found = combined(across, through)
    calm = [through[:, 0].mean(), across[:, 1].mean(), through[:, 2].mean()]
    # What is left of the other is below size · size⁻².
    np.testing.assert_allclose(found.gradient["a"], calm, rtol=1e-4, atol=10 / size)


@pytest.mark.parametrize("exploded", [np.inf, np.nan, -np.inf, 1e30])
def test_an_exploded_gradient_leaves_evolution_strategies(exploded):
    """In its coordinate alone, whose pair has not diverged: its losses are finite."""
    across, through = DRAWS.copy()
    # So large that a share of their variance over the largest float is not zero yet.
    across[:, 1] *= 1e6
    through[2, 1] = exploded
    found = combined(across, through)
    calm = combined(across, DRAWS[1])
    np.testing.assert_allclose(found.gradient["a"][1], across[:, 1].mean(), rtol=1e-5)
    np.testing.assert_array_equal(found.gradient["a"][::2], calm.gradient["a"][::2])
    assert float(found.diverged_share) == 0.0
    assert bool(jnp.isfinite(found.signal_to_noise))


def test_diverged_pairs_have_no_say():
    """Neither in the mean nor in the weights: the others' mixture is what it is without them."""
    across, through = DRAWS.copy()
    across[4], through[4], across[1], through[1] = np.nan, np.nan, 1e20, 1e20
    finite = [True, False, True, True, False, True]
    found = combined(across, through, finite)
    rest = DRAWS[:, [0, 2, 3, 5]].astype(float)
    inverse = 1 / rest.var(axis=1)
    expected = (inverse * rest.mean(axis=1)).sum(axis=0) / inverse.sum(axis=0)
    np.testing.assert_allclose(found.gradient["a"], expected, rtol=1e-4)
    assert float(found.diverged_share) == pytest.approx(1 / 3)


def test_without_any_variance_both_count_alike():
    """Among them where all but one pair diverged."""
    found = combined(DRAWS[0], DRAWS[1], [False, False, True, False, False, False])
    np.testing.assert_allclose(found.gradient["a"], DRAWS[:, 2].mean(axis=0), rtol=1e-6)


def with_outer(affine, extra):
    """The objective whose meta-loss has a term more, of the sum of the weights."""
    task = affine.objective.task

    def meta_loss(params, data, key):
        return task.meta_loss(params, data, key) + extra(params["weight"].sum())

    return affine.objective._replace(task=task._replace(meta_loss=meta_loss))


def first_estimate(affine, estimator, key):
    """Of whole runs; under one key every estimator has the same runs and perturbations."""

    @jax.jit
    def estimate(key):
        init_key, key = jax.random.split(key)
        state = estimator.init(affine.theta, affine.data, init_key)
        return estimator.estimate(affine.theta, state, affine.data, key)[0].gradient["push"]

    return estimate(key)


def test_on_a_jumping_loss_it_is_backpropagation(affine):
    """Jumps by 20 are seen across a pair alone, as slopes of 20 / (2 · 0.001).

    Without them the mean gradient of theta ± ε is that at theta, since the weights are affine.
    What is left of the other is its standard deviation times its share, V / 1e4 if backpropagation
    varies by V = 10, over √8; four times that is allowed.
    """
    jumping = with_outer(affine, lambda x: 10 * jnp.sign(jnp.sin(1000 * x)))
    key = jax.random.key(3)
    found = first_estimate(affine, mixed(jumping, truncation=12, num_pairs=8, std=1e-3), key)
    expected = first_estimate(affine, full_backprop(affine.objective, num_runs=8), key)
    np.testing.assert_allclose(found, expected, atol=4 * 10 / 1e4 / 8**0.5, rtol=1e-4)


def test_on_a_chaotic_loss_it_is_evolution_strategies(affine):
    """Ripples of 0.1 with slopes of 1e5 are next to nothing across a pair.

    What is left of backpropagation is its standard deviation, above 1e5, times its share, V / 1e10
    if evolution strategies vary by V = 500, over √8; four times that is allowed.
    """
    chaotic = with_outer(affine, lambda x: 0.1 * jnp.sin(1e6 * x))
    options = {"truncation": 12, "num_pairs": 8, "std": 0.5}
    key = jax.random.key(3)
    found = first_estimate(affine, mixed(chaotic, **options), key)
    expected = first_estimate(affine, tes(chaotic, **options), key)
    np.testing.assert_allclose(found, expected, atol=4 * 500 / 1e5 / 8**0.5, rtol=1e-5)


def test_unbiased_where_the_loss_is_smooth(affine):
    """Batches and initial weights are drawn; against the mean gradient of runs at theta.

    Weights from the pairs that they weigh cost a share of order one over pairs, which 64 pairs
    keep near one standard error of the means, std / √number, four of which are allowed.
    """
    estimator = mixed(affine.objective, truncation=12, num_pairs=64, std=0.5)
    keys = jax.random.split(jax.random.key(1), 400)
    found = jax.vmap(lambda key: first_estimate(affine, estimator, key))(keys)
    one_run = full_backprop(affine.objective, num_runs=1)
    keys = jax.random.split(jax.random.key(2), 40_000)
    exact = jax.vmap(lambda key: first_estimate(affine, one_run, key))(keys)
    found, exact = np.asarray(found, float), np.asarray(exact, float)
    error = (found.var(axis=0) / len(found) + exact.var(axis=0) / len(exact)) ** 0.5
    assert (4 * error).max() < 0.02 * np.linalg.norm(exact.mean(axis=0))
    assert (np.abs(found.mean(axis=0) - exact.mean(axis=0)) < 4 * error).all()


def test_one_pair_has_no_variance(affine):
    with pytest.raises(ValueError, match="num_pairs must be at least 2, for variances, got 1"):
        mixed(affine.objective, truncation=3, num_pairs=1, std=0.1)
