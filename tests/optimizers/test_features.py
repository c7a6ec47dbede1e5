"""Averages, and the time."""

import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.optimizers.features import (
    accumulate,
    accumulate_tree,
    check_params,
    time_embedding,
)


def test_every_tensor_of_a_tree_is_averaged():
    found = accumulate_tree(
        {"a": jnp.ones(2), "b": jnp.zeros(())}, {"a": jnp.zeros(2), "b": jnp.array(4.0)}, 0.75
    )
    np.testing.assert_array_equal(found["a"], [0.75, 0.75])
    assert float(found["b"]) == 1.0


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
