"""The orthogonalized momentum against the singular value decomposition."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.optimizers.orthogonal import ROOT_MEAN_SQUARE, orthogonalized


def spectrum(shape, values, seed=0):
    """A matrix with the given singular values, and its singular vectors."""
    left, _, right = np.linalg.svd(np.random.default_rng(seed).normal(size=shape), False)
    return (left * values) @ right, left, right


@pytest.mark.parametrize("shape", [(30, 7), (7, 30), (9, 9)])
def test_all_singular_values_become_about_one_of_one_size(shape):
    """Catches products in the wrong order, a forgotten norm and a matrix turned on its side."""
    matrix, left, right = spectrum(shape, np.geomspace(1.0, 0.03, min(shape)))
    found = np.asarray(orthogonalized(jnp.asarray(7.0 * matrix, jnp.float32)))
    core = left.T @ found @ right.T / (ROOT_MEAN_SQUARE * max(shape) ** 0.5)
    np.testing.assert_allclose(core, np.diag(np.diag(core)), atol=5e-3)
    # The interval of the five iterations, see Jordan et al. (2024).
    assert 0.65 < np.diag(core).min() <= np.diag(core).max() < 1.25


def test_a_filter_is_a_matrix_with_a_column_a_unit():
    filters = jax.random.normal(jax.random.key(0), (3, 3, 4, 8))
    found = orthogonalized(filters)
    flat = orthogonalized(filters.reshape(36, 8))
    np.testing.assert_array_equal(found.reshape(36, 8), flat)
    assert float(jnp.sqrt(jnp.mean(found**2))) == pytest.approx(ROOT_MEAN_SQUARE, rel=0.25)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_it_is_what_optax_finds_without_the_gram_matrix(shape):
    matrix = jax.random.normal(jax.random.key(1), shape)
    muon = optax.contrib.scale_by_muon(
        beta=0.0,
        nesterov=False,
        weight_dimension_numbers={"weight": optax.contrib.MuonDimensionNumbers()},
    )
    theirs, _ = muon.update({"weight": matrix}, muon.init({"weight": matrix}))
    ours = orthogonalized(matrix) / (ROOT_MEAN_SQUARE * max(shape) ** 0.5)
    np.testing.assert_allclose(ours, theirs["weight"], atol=1e-4)


def test_zero_stays_zero_and_a_missing_direction_stays_finite():
    assert not orthogonalized(jnp.zeros((5, 3))).any()
    assert jnp.isfinite(orthogonalized(jnp.ones((6, 4)))).all()
    assert jnp.isfinite(orthogonalized(1e-12 * jnp.ones((6, 4)))).all()
