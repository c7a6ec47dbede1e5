"""The quadratic, whose loss and gradient are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.tasks.quadratic import QuadraticData, quadratic

DATA = QuadraticData(jnp.array([1.0, -2.0]), jnp.array([0.0, 4.0]))
KEY = jax.random.key(0)


def test_losses_at_a_known_point():
    task = quadratic(num_dimensions=2)
    params = {"weight": jnp.array([4.0, 2.0])}
    assert float(task.loss(params, DATA, KEY)) == 0.5 * (9 + 16)
    assert float(task.meta_loss(params, DATA, KEY)) == 0.5 * (16 + 4)
    assert task.refresh(DATA, KEY) is DATA


def test_noise_shifts_the_gradient_and_not_its_mean():
    """Over 4,000 keys within four standard errors, noise_std / √keys, and of that spread.

    The std of a normal sample is off by its own over √(2 keys).
    """
    task, num_keys = quadratic(num_dimensions=2, noise_std=3.0), 4000
    params = {"weight": jnp.array([4.0, 2.0])}
    keys = jax.random.split(KEY, num_keys)
    gradients = jax.vmap(lambda key: jax.grad(task.loss)(params, DATA, key))(keys)["weight"]
    np.testing.assert_allclose(gradients.mean(axis=0), [3.0, 4.0], atol=4 * 3 / num_keys**0.5)
    np.testing.assert_allclose(gradients.std(axis=0), 3.0, atol=4 * 3 / (2 * num_keys) ** 0.5)
    losses = [float(task.meta_loss(params, DATA, key)) for key in keys[:3]]
    assert losses == [10.0] * 3


def test_starts_differ_by_key():
    task = quadratic(num_dimensions=5)
    first, again, other = (task.init(jax.random.key(seed))["weight"] for seed in (0, 0, 1))
    assert first.shape == (5,)
    np.testing.assert_array_equal(first, again)
    assert not np.isclose(first, other).any()


def test_at_least_one_dimension():
    with pytest.raises(ValueError, match="num_dimensions must be positive, got 0"):
        quadratic(num_dimensions=0)


@pytest.mark.parametrize("std", [-1.0, float("nan")])
def test_noise_has_no_negative_size(std):
    with pytest.raises(ValueError, match=f"noise_std must not be negative, got {std}"):
        quadratic(num_dimensions=2, noise_std=std)
