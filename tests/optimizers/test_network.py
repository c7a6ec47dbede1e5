"""The network against plain matrix products over all features of every parameter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.optimizers.network import (
    LEAST_FUSED,
    MOST_FUSED,
    apply_network,
    check_hidden_sizes,
    init_network,
    layer,
    one_by_one,
    weighted_sum,
)

RNG = np.random.default_rng(0)
WHOLE = jnp.array(RNG.normal(size=(5, 4)) * 30, jnp.float32)
ROWS = jnp.array(RNG.normal(size=(5, 1)) * 0.01, jnp.float32)
COLUMNS = jnp.array(RNG.normal(size=(1, 4)), jnp.float32)
SHARED = jnp.array([0.3, -2.0])


def plain(theta, features, shared):
    """Tensor by tensor as the sources write it: normalize, tile, multiply."""
    shape = np.broadcast_shapes(*(part.shape for part in features))
    tiled = [np.broadcast_to(part, shape).astype(float) for part in features]
    normalized = [part * (1e-5 + np.mean(part**2)) ** -0.5 for part in tiled]
    units = np.stack([*normalized, *(np.full(shape, float(value)) for value in shared)], axis=-1)
    for index in range(len(theta) // 2):
        units = np.maximum(units, 0.0) if index else units
        units = units @ np.asarray(theta[f"weight_{index}"], float).T
        units = units + np.asarray(theta[f"bias_{index}"], float)
    return np.moveaxis(units, -1, 0)


@pytest.mark.parametrize("hidden_sizes", [(4, 4), (16,), (60, 5)])
@pytest.mark.parametrize("repeats", [1, 200])
def test_the_network_is_plain_matrix_products(hidden_sizes, repeats):
    """Of small tensors as products, of large ones as sums; features of rows and columns too."""
    theta = init_network((5, *hidden_sizes, 2), jax.random.key(0))
    theta = jax.tree.map(lambda leaf: leaf + 0.1, theta)
    assert 16 * 5 < MOST_FUSED < 60 * 5
    assert 20 < LEAST_FUSED < 20 * 200
    inputs = (jnp.tile(WHOLE, (repeats, 1)), jnp.tile(ROWS, (repeats, 1)), COLUMNS)
    found = jax.jit(lambda inputs: jnp.stack(apply_network(theta, one_by_one, inputs, SHARED)))(
        inputs
    )
    np.testing.assert_allclose(found, plain(theta, inputs, SHARED), rtol=1e-4, atol=1e-5)


def test_the_network_can_be_differentiated():
    """Estimators that backpropagate through training need it, barrier and all."""
    theta = init_network((5, 4, 2), jax.random.key(0))

    def total(shift):
        inputs = (WHOLE + shift, ROWS, COLUMNS)
        return sum(part.sum() for part in apply_network(theta, one_by_one, inputs, SHARED))

    slope = (float(total(jnp.float32(0.5))) - float(total(jnp.float32(-0.5)))) / 1.0
    assert float(jax.grad(total)(jnp.float32(0.0))) == pytest.approx(slope, rel=0.05, abs=0.02)


def test_a_vanishing_feature_is_not_blown_up():
    theta = {"weight_0": jnp.ones((1, 1)), "bias_0": jnp.zeros(1)}
    (found,) = apply_network(theta, one_by_one, (jnp.full(3, 1e-12),), jnp.zeros(0))
    np.testing.assert_allclose(found, 1e-12 * 1e-5**-0.5, rtol=1e-4)


def test_inputs_of_one_shape_are_added_before_they_are_spread():
    found = weighted_sum(jnp.array([1.0, 2.0, 3.0, 4.0]), [WHOLE, ROWS, COLUMNS, ROWS])
    np.testing.assert_allclose(found, WHOLE + 6 * ROWS + 3 * COLUMNS, rtol=1e-6)


def test_a_layer_has_its_bias():
    units = layer(jnp.zeros((3, 1)), jnp.arange(3.0), [WHOLE])
    assert [float(unit[0, 0]) for unit in units] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("hidden_sizes", [(), (0,), (4, -1)])
def test_a_hidden_layer_is_needed(hidden_sizes):
    with pytest.raises(ValueError, match="hidden_sizes must be one or more positive counts"):
        check_hidden_sizes(hidden_sizes)
