"""The averages of `adafac_mlp`: their learned decays, and what is factored along which axis."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.optimizers import adafac_mlp
from noiseproof.optimizers.adafac_mlp import (
    accumulate_state,
    factored_axes,
    features,
    learned_decays,
    mean_squares,
    square_sums,
    start,
)


def test_decays_are_learned_by_the_logarithm_of_their_distance_from_one():
    """A shift of -0.1 is one e-fold nearer to 1."""
    found = learned_decays((0.9, 0.99), jnp.array([0.0, -0.1]))
    np.testing.assert_allclose(1 - found, [0.1, 0.01 / np.e], rtol=1e-4)


def test_a_second_moment_does_not_change_its_sign():
    """However far its decay is learned: here 1 - 0.001 e^8 is below zero."""
    theta = adafac_mlp().init(jax.random.key(0))
    theta["second_moment_decays"] = jnp.array([0.8])
    params = {"bias": jnp.ones(2)}
    state = accumulate_state(theta, start(params), {"bias": jnp.array([3.0, 3.0])})
    state = accumulate_state(theta, state, {"bias": jnp.array([1.0, 0.0])})
    np.testing.assert_allclose(state.second_moments["bias"][0], [0.001 * np.e**8, 0.0], rtol=1e-4)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((8, 5), (0, 1)),
        ((5, 8), (1, 0)),
        ((4, 4), (1, 0)),
        ((1, 6), (1, 0)),
        ((3, 3, 2, 4), (3, 1)),
        ((3, 3, 32, 16), (2, 3)),
    ],
)
def test_the_two_largest_axes_are_factored(shape, expected):
    assert factored_axes(shape) == expected


def test_a_weight_keeps_two_means_and_a_vector_its_squares():
    weight = jnp.array([[1.0, 2.0, 3.0], [0.0, 2.0, 0.0]])
    over_columns, over_rows = mean_squares(weight)
    np.testing.assert_allclose(over_columns, [[14 / 3], [4 / 3]], rtol=1e-6)
    np.testing.assert_allclose(over_rows, [[0.5, 4.0, 4.5]], rtol=1e-6)
    (squares,) = mean_squares(weight[0])
    np.testing.assert_allclose(squares, [1.0, 4.0, 9.0], rtol=1e-6)


def test_the_factored_state_is_small():
    """Three decays of rows and columns, beside four whole averages."""
    state = start({"weight": jnp.ones((100, 50))})
    assert [part.size for part in state.factors[0]] == [3 * 50, 3 * 100]
    assert optax.tree.size((state.momenta, state.second_moments)) == 4 * 5000


@pytest.mark.parametrize("shape", [(8, 5), (5, 8), (6, 6), (3, 3, 2, 4), (3, 3, 5, 4), (7,)])
def test_squares_are_summed_as_the_features_say(shape):
    """The short way to the sums of a weight against the features themselves, one by one."""

    @jax.jit
    def both_ways(grads):
        theta = adafac_mlp().init(jax.random.key(0))
        state = accumulate_state(theta, start(grads), grads)
        state = accumulate_state(theta, state, jax.tree.map(lambda leaf: 0.1 * leaf[::-1], grads))
        averages = (state.momenta["tensor"], state.second_moments["tensor"])
        inputs = (2.0 * grads["tensor"], state.factors[0], grads["tensor"], *averages)
        return square_sums(inputs), features(inputs)

    rng = np.random.default_rng(0)
    sums, blocks = both_ways({"tensor": jnp.array(rng.normal(size=shape), jnp.float32)})
    expected = [np.sum(np.float64(part) ** 2) for block in blocks for part in block]
    np.testing.assert_allclose(sums, expected, rtol=1e-5)
