"""Statistics of tensors that lie behind each other in one matrix."""

import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.optimizers.features import (
    accumulate,
    check_params,
    rms_normalize,
    slices,
    spread,
    tensor_mean,
    tensor_ranks,
    tensor_sizes,
    time_embedding,
)

TREE = {"a": jnp.ones((2, 3)), "b": jnp.ones(4), "c": jnp.ones(())}
SIZES = (6, 4, 1)


def test_sizes_and_ranks_in_leaf_order():
    assert tensor_sizes(TREE) == SIZES
    np.testing.assert_array_equal(tensor_ranks(TREE), [[2.0, 1.0, 0.0]])


def test_slices_put_together_are_the_whole():
    rows = jnp.arange(22.0).reshape(2, 11)
    parts = slices(rows, SIZES)
    assert [part.shape for part in parts] == [(2, 6), (2, 4), (2, 1)]
    np.testing.assert_array_equal(jnp.concatenate(parts, axis=1), rows)


def test_spread_undoes_the_mean_of_constant_tensors():
    values = jnp.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    rows = spread(values, SIZES)
    np.testing.assert_array_equal(rows[0], [1.0] * 6 + [2.0] * 4 + [3.0])
    np.testing.assert_array_equal(tensor_mean(rows, SIZES), values)


def test_each_feature_of_each_tensor_is_normalized_alone():
    """Catches a mean over features, and one over the whole classifier."""
    rng = np.random.default_rng(0)
    scales = spread(jnp.array([[1.0, 30.0, 500.0], [7.0, 0.5, 90.0]]), SIZES)
    rows = rms_normalize(scales * jnp.array(rng.normal(size=(2, 11)), jnp.float32), SIZES)
    np.testing.assert_allclose(tensor_mean(rows**2, SIZES), 1.0, rtol=1e-3)


def test_a_vanishing_feature_is_not_blown_up():
    rows = rms_normalize(jnp.full((1, 11), 1e-12), SIZES)
    np.testing.assert_allclose(rows, 1e-12 * 1e-5**-0.5, rtol=1e-4)


def test_accumulate_is_not_bias_corrected():
    assert float(accumulate(jnp.zeros(()), jnp.array(3.0), 0.9)) == pytest.approx(0.3)


def test_time_embedding_at_known_steps():
    """A feature crosses zero at its own scale."""
    at_ten = time_embedding(jnp.int32(10))
    np.testing.assert_allclose(at_ten[:4], np.tanh([9.0, 10 / 3 - 1, 0.0, -2 / 3]), atol=1e-6)
    np.testing.assert_allclose(time_embedding(jnp.int32(0)), np.full(11, np.tanh(-1.0)), rtol=1e-6)


def test_params_are_asked_for():
    with pytest.raises(ValueError, match="A learned optimizer needs params"):
        check_params(None)
    check_params({})
