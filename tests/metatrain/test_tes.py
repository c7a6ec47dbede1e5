"""Truncated evolution strategies: what they estimate, and what they go on with."""

import jax
import numpy as np
import pytest

from noiseproof.metatrain import tes

TRUNCATION = 3


@pytest.fixture(scope="module")
def one_pair(affine):
    """The estimator of one pair, compiled, with its state in the middle of a run."""
    estimator = tes(affine.objective, truncation=TRUNCATION, num_pairs=1, std=0.5)
    estimate = jax.jit(estimator.estimate)
    state = estimator.init(affine.theta, affine.data, jax.random.key(0))
    for step in range(2):
        _, state = estimate(affine.theta, state, affine.data, jax.random.key(step))
    return estimate, state


def test_it_estimates_the_gradient_of_the_truncation(affine, one_pair):
    """Unbiased for that, since antithetic differences are linear here, and not for the run's.

    Catches runs that set out from two states, and a perturbation used at another size than it is
    credited at. Tolerance: four standard errors, std / √keys.
    """
    estimate, state = one_pair
    own = jax.tree.map(lambda leaf: leaf[0], state)
    exact = affine.truncated_gradient(
        affine.objective, affine.theta, own.carry, affine.data, TRUNCATION, own.run_key
    )["push"]
    keys = jax.random.split(jax.random.key(1), 4000)
    found, _ = jax.vmap(lambda key: estimate(affine.theta, state, affine.data, key))(keys)
    gradients = np.asarray(found.gradient["push"], np.float64)
    error = gradients.std(axis=0, ddof=1) / len(gradients) ** 0.5
    assert (4 * error).max() < 0.2 * np.linalg.norm(exact)
    assert (np.abs(gradients.mean(axis=0) - exact) < 4 * error).all()
    assert np.linalg.norm(exact - affine.exact) > 20 * error.max()


def test_the_run_above_goes_on(affine, one_pair):
    """One classifier a pair is carried, from where the last truncation of a run above ended.

    Pushed by theta + 0.5 ε for three steps, it is off the run of theta by a multiple of ε; the
    gradient is another multiple, whose sign tells above from below.
    """
    estimate, state = one_pair
    key = jax.random.key(7)
    found, after = estimate(affine.theta, state, affine.data, key)
    assert after.carry.params["weight"].shape == (1, 2)
    np.testing.assert_array_equal(after.carry.step, 9)
    # Without a perturbation to speak of the run is that of theta.
    faint = tes(affine.objective, truncation=TRUNCATION, num_pairs=1, std=1e-6)
    _, middle = jax.jit(faint.estimate)(affine.theta, state, affine.data, key)
    move = np.asarray(after.carry.params["weight"] - middle.carry.params["weight"])[0]
    exact = affine.truncated_gradient(
        affine.objective,
        affine.theta,
        jax.tree.map(lambda leaf: leaf[0], state.carry),
        affine.data,
        TRUNCATION,
        state.run_key[0],
    )["push"]
    # Pushes of 0.5 ε add up to 0.5 ε (1 - 0.9³) / 0.1, and the estimate is (ε · gradient) ε.
    eps = move / (0.5 * (1 - 0.9**3) / 0.1)
    np.testing.assert_allclose(found.gradient["push"], (eps @ exact) * eps, rtol=1e-3)


def test_pairs_are_staggered(affine):
    """Of four truncations a run and four pairs, every age is present once first runs are over."""
    estimator = tes(affine.objective, truncation=TRUNCATION, num_pairs=4, std=0.5)
    estimate = jax.jit(estimator.estimate)
    state = estimator.init(affine.theta, affine.data, jax.random.key(0))
    for step in range(6):
        _, state = estimate(affine.theta, state, affine.data, jax.random.key(step))
        np.testing.assert_array_equal(state.carry.step, TRUNCATION * state.age)
    assert sorted(np.asarray(state.age)) == [1, 2, 3, 4]
