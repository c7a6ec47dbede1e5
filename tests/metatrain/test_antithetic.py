"""Pairs, what counts of their losses, and the mean over them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof import inner_loop
from noiseproof.inner_loop import Losses, Window
from noiseproof.metatrain import recipe_of
from noiseproof.metatrain.antithetic import pair_gradient, start_pair, unroll_pair
from noiseproof.metatrain.particles import combine, particle_keys
from noiseproof.metatrain.unrolling import unroll

RUN_KEY = jax.random.key(5)


def start_one(affine):
    recipe = recipe_of(affine.objective, affine.theta)
    return inner_loop.init(affine.objective.task, recipe, RUN_KEY)


def unroll_whole(affine, objective, data):
    return unroll(objective, affine.theta, start_one(affine), data, objective.num_steps, RUN_KEY)


@pytest.fixture(scope="module")
def losses_after_each_step(affine):
    """Twelve meta-losses, by a plain loop."""
    task, recipe = affine.objective.task, recipe_of(affine.objective, affine.theta)

    @jax.jit
    def one(state):
        state, _ = inner_loop.step(task, recipe, state, affine.data, RUN_KEY)
        outer_key = inner_loop.step_keys(state.step, RUN_KEY)[2]
        return state, inner_loop.meta_loss(task, recipe, state, affine.data, outer_key)

    state, losses = start_one(affine), []
    for _ in range(12):
        state, loss = one(state)
        losses.append(float(loss))
    return np.array(losses)


@pytest.mark.parametrize(
    ("interval", "share", "counted"),
    [
        (1, 1.0, range(1, 13)),
        (3, 1.0, (3, 6, 9, 12)),
        (1, 0.25, (10, 11, 12)),
        (3, 0.5, (9, 12)),
        (4, 0.4, (8, 12)),  # the last five steps, of which two are taken
        (4, 0.3, (12,)),
        (6, 0.01, (12,)),  # however small the share
    ],
)
def test_the_mean_is_over_the_last_share(affine, losses_after_each_step, interval, share, counted):
    """Catches a weight that is off by one loss."""
    objective = affine.objective._replace(window=Window(interval, share, max_loss=1e9))
    _, losses = unroll_whole(affine, objective, affine.data)
    expected = np.mean([losses_after_each_step[step - 1] for step in counted])
    assert losses.weighted.shape == (12 // interval,)
    assert float(losses.weighted.mean()) == pytest.approx(expected, rel=1e-5)
    assert float(losses.weights.mean()) == pytest.approx(1.0)
    assert bool(losses.finite)


def test_losses_are_clipped_before_they_are_weighted(affine):
    objective = affine.objective._replace(window=Window(max_loss=0.01, last_share=0.5))
    _, losses = unroll_whole(affine, objective, affine.data)
    np.testing.assert_allclose(losses.weighted, [0.0] * 6 + [0.02] * 6)
    assert bool(losses.finite)


@pytest.mark.parametrize("flawed", ["target", "outer_target"])
def test_a_loss_that_is_not_finite_is_noticed(affine, flawed):
    """In training or outside, though a clipped infinity looks like a loss."""
    data = affine.data._replace(**{flawed: jnp.array([jnp.inf, 0.0])})
    assert not bool(unroll_whole(affine, affine.objective, data)[1].finite)


def test_two_unrolls_are_one(affine):
    """Draws belong to the step of the run and not to the call."""
    objective, theta = affine.objective, affine.theta
    whole, losses = unroll_whole(affine, objective, affine.data)
    state, first = unroll(objective, theta, start_one(affine), affine.data, 4, RUN_KEY)
    state, second = unroll(objective, theta, state, affine.data, 8, RUN_KEY)
    parts = jnp.concatenate([first.weighted, second.weighted])
    np.testing.assert_allclose(parts, losses.weighted, rtol=1e-6)
    np.testing.assert_allclose(state.params["weight"], whole.params["weight"], rtol=1e-6)


def test_both_runs_are_alike_but_for_theta(affine):
    """Not shifted they are equal; shifted they move in mirror image about the middle."""
    objective, theta = affine.objective, affine.theta
    states = start_pair(objective, theta, RUN_KEY)
    np.testing.assert_array_equal(states.params["weight"][0], states.params["weight"][1])

    def ends(move):
        shift = {"push": jnp.array([move, -2 * move])}
        states_after, losses = unroll_pair(
            objective, theta, shift, states, affine.data, 12, RUN_KEY
        )
        assert bool(losses.finite.all())
        return states_after.params["weight"], losses.weighted

    (middle, same), losses = ends(0.0)
    np.testing.assert_array_equal(middle, same)
    np.testing.assert_array_equal(losses[0], losses[1])
    (above, below), _ = ends(0.1)
    np.testing.assert_allclose((above + below) / 2, middle, atol=1e-5)
    # Pushes of 0.1 add up to 0.1 (1 - 0.9^12) / 0.1.
    np.testing.assert_allclose(above - middle, (1 - 0.9**12) * np.array([1, -2]), atol=1e-5)


def all_counted(weighted, finite=True):
    runs = weighted.shape[:-1]
    return Losses(weighted, jnp.ones_like(weighted), jnp.broadcast_to(jnp.array(finite), runs))


def test_a_pairs_gradient_is_its_slope_along_eps():
    losses = jnp.array([[3.0, 5.0], [1.0, 2.0]])  # means 4 and 1.5
    gradient = pair_gradient(all_counted(losses), {"push": jnp.array([2.0, -1.0])}, 0.5)
    np.testing.assert_allclose(gradient["push"], [2.5 * 2.0, 2.5 * -1.0])


def test_keys_belong_to_the_index_of_a_pair():
    """So that more pairs, or more devices, leave the first ones as they were."""
    four, two = (jax.random.key_data(particle_keys(n, RUN_KEY)) for n in (4, 2))
    np.testing.assert_array_equal(four[:2], two)
    assert len(np.unique(four, axis=0)) == 4


def test_combine_at_known_values():
    """Gradients 1 and 3: mean 2, standard error √2 / √2 = 1."""
    gradients = {"a": jnp.array([1.0, 3.0]), "b": jnp.zeros((2, 2))}
    losses = jnp.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    found = combine(gradients, all_counted(losses))
    assert float(found.gradient["a"]) == 2.0
    assert float(found.meta_loss) == 4.5
    assert float(found.signal_to_noise) == pytest.approx(2.0, rel=1e-5)
    assert float(found.diverged_share) == 0.0


def test_combine_leaves_diverged_pairs_out():
    """Catches a mean that divides by all, and a nan that gets through by 0 · nan."""
    gradients = {"a": jnp.array([1.0, jnp.nan, 3.0, 1e30])}
    losses = jnp.array([1.0, jnp.nan, 2.0, jnp.inf])[:, None, None] * jnp.ones((4, 2, 1))
    # Of the last pair, one run only.
    finite = jnp.array([[True, True], [False, False], [True, True], [True, False]])
    found = combine(gradients, all_counted(losses, finite))
    assert float(found.gradient["a"]) == 2.0
    assert float(found.meta_loss) == 1.5
    assert float(found.signal_to_noise) == pytest.approx(2.0, rel=1e-5)
    assert float(found.diverged_share) == 0.5


def test_one_pair_has_no_signal_to_noise():
    found = combine({"a": jnp.ones(1)}, all_counted(jnp.ones((1, 2, 1))))
    assert bool(jnp.isnan(found.signal_to_noise))
    assert float(found.meta_loss) == 1.0


@pytest.mark.parametrize("num_pairs", [3, 5, 7])
def test_the_share_of_diverged_pairs_is_exact(num_pairs):
    """Catches one minus a mean, which is -3e-8 where no pair of 3 diverged: no share at all."""
    losses = all_counted(jnp.ones((num_pairs, 2, 1)))
    found = jax.jit(combine)({"a": jnp.ones(num_pairs)}, losses)
    assert float(found.diverged_share) == 0.0


def test_losses_that_do_not_count_are_not_in_the_meta_loss():
    """Catches a mean over all pairs, of which some are too early in their runs."""
    weights = jnp.array([0.0, 2.0])[:, None, None] * jnp.ones((2, 2, 3))
    losses = Losses(1.5 * weights, weights, jnp.ones((2, 2), bool))
    assert float(combine({"a": jnp.ones(2)}, losses).meta_loss) == pytest.approx(1.5)
    none = losses._replace(weighted=0 * weights, weights=0 * weights)
    assert bool(jnp.isnan(combine({"a": jnp.ones(2)}, none).meta_loss))
