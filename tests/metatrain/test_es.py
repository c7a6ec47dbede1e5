"""Full-length evolution strategies."""

import jax
import numpy as np

from noiseproof import inner_loop
from noiseproof.metatrain import es, recipe_of


def test_each_pair_projects_the_gradient_on_its_perturbation(affine):
    """One pair's estimate is (ε·∇) ε: times the gradient (ε·∇)², of mean |∇|² and never negative.

    Catches a run that is cut off, and a perturbation used at another size than it is credited at.
    Tolerance: four standard errors, std / √pairs.
    """
    estimator = es(affine.sure, num_pairs=1, std=0.7)
    keys = jax.random.split(jax.random.key(1), 2000)
    found = jax.jit(
        jax.vmap(lambda key: estimator.estimate(affine.theta, (), affine.data, key)[0])
    )(keys)
    products = np.asarray(found.gradient["push"] @ affine.exact, np.float64)
    size = float(affine.exact @ affine.exact)
    assert products.min() > -1e-4 * size
    error = products.std(ddof=1) / len(products) ** 0.5
    assert 4 * error < 0.2 * size
    assert abs(products.mean() - size) < 4 * error


def test_the_meta_loss_is_the_mean_of_both_sides(affine):
    """With a perturbation next to none it is that of theta itself."""
    estimator = es(affine.objective, num_pairs=2, std=1e-4)
    key = jax.random.key(3)
    found, state = jax.jit(estimator.estimate)(affine.theta, (), affine.data, key)
    assert state == ()
    recipe = recipe_of(affine.objective, affine.theta)
    expected = [
        inner_loop.score(
            affine.objective.task,
            recipe,
            affine.data,
            12,
            jax.random.split(jax.random.fold_in(key, pair))[1],
            window=affine.objective.window,
        )
        for pair in range(2)
    ]
    np.testing.assert_allclose(found.meta_loss, np.mean(expected), rtol=1e-3)
