"""The lengths of runs: how they are drawn, and that a run of some length is that run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.inner_loop import Window
from noiseproof.metatrain import RUN_LENGTHS, es, full_backprop, mixed, pes
from noiseproof.metatrain.run_lengths import constant, curriculum, log_uniform
from noiseproof.types import LearnedOptimizer


def draws(run_length, num_estimates, number=4000):
    keys = jax.random.split(jax.random.key(0), number)
    return np.asarray(jax.vmap(run_length, (None, 0))(jnp.int32(num_estimates), keys), float)


def assert_uniform(values, low, high):
    """Mean and range; four standard errors of the mean, (high - low) / √(12 number).

    The extremes of n draws are within 20 / n of the range but for a chance of e⁻²⁰ each.
    """
    assert values.min() >= low * (1 - 1e-6)
    assert values.max() <= high * (1 + 1e-6)
    error = (high - low) / (12 * len(values)) ** 0.5
    assert abs(values.mean() - (low + high) / 2) < 4 * error
    assert max(values.min() - low, high - values.max()) < 20 / len(values) * (high - low)


def test_log_uniform():
    lengths = draws(log_uniform(num_steps=2000, shortest=100), 0)
    assert_uniform(np.log(lengths), np.log(100), np.log(2000))


@pytest.mark.parametrize(("num_estimates", "middle"), [(0, 100), (25, 350), (50, 600)])
def test_a_curriculum_grows_in_equal_steps(num_estimates, middle):
    run_length = curriculum(num_steps=1100, shortest=100, num_growing=100)
    assert_uniform(draws(run_length, num_estimates), 0.8 * middle, 1.2 * middle)


@pytest.mark.parametrize("num_estimates", [100, 1000])
def test_a_curriculum_ends_at_the_longest(num_estimates):
    lengths = draws(curriculum(num_steps=1100, shortest=100, num_growing=100), num_estimates)
    assert lengths.max() == 1100
    # Half of the draws are above one; four standard deviations of a share of 4000.
    assert abs((lengths == 1100).mean() - 0.5) < 4 * 0.5 / 4000**0.5


def slowing_descent():
    """A rule that needs to know how long its run is."""

    def optimizer(theta, num_steps, _layout):
        def update(updates, state, params=None):
            return {"weight": theta["push"] / num_steps - 0.1 * updates["weight"]}, state

        return optax.GradientTransformation(lambda _params: (), update)

    return LearnedOptimizer(lambda _key: {"push": jnp.zeros(2)}, optimizer)


@pytest.mark.parametrize("builder", [pes, mixed])
def test_a_run_of_a_drawn_length_is_a_run_of_that_length(affine, builder):
    """Four of twelve steps, rounded up to two truncations of three, are a run of six.

    In what the rule is told, what share of the losses counts, and when a new run begins.
    """
    long = affine.objective._replace(
        learned=slowing_descent(), window=Window(last_share=0.5, max_loss=1e9)
    )
    short = long._replace(num_steps=6)
    drawn = long._replace(run_length=lambda _num_estimates, _key: jnp.float32(4.0))
    found = []
    for objective in (short, drawn):
        estimator = builder(objective, truncation=3, num_pairs=3, std=0.5)
        estimate = jax.jit(estimator.estimate)
        state = estimator.init(affine.theta, affine.data, jax.random.key(0))
        for step in range(4):
            one, state = estimate(affine.theta, state, affine.data, jax.random.key(step))
            found.append((one, state.age, state.carry))
    for expected, one in zip(found[:4], found[4:], strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), expected, one)


def test_a_new_run_is_drawn_at_the_progress_of_its_beginning(affine):
    """Of a length that is three times the estimates so far, and one truncation to begin with."""
    objective = affine.objective._replace(run_length=lambda count, _key: 3.0 * count)
    estimator = pes(objective, truncation=3, num_pairs=1, std=0.5)
    estimate = jax.jit(estimator.estimate)
    state = estimator.init(affine.theta, affine.data, jax.random.key(0))
    ages, lengths = [], []
    for step in range(9):
        _, state = estimate(affine.theta, state, affine.data, jax.random.key(step))
        ages.append(int(state.age[0]))
        lengths.append(int(state.num_truncations[0]))
    # Runs of 1, 1, 2 and 4 truncations, the last no longer than the objective's twelve steps.
    assert ages == [1, 1, 1, 2, 1, 2, 3, 4, 1]
    assert lengths == [1, 1, 2, 2, 4, 4, 4, 4, 4]


def test_particles_have_lengths_of_their_own(affine):
    """Drawn from the run's key: different between particles, the same again under one key."""
    objective = affine.objective._replace(run_length=log_uniform(num_steps=12, shortest=1))
    estimator = pes(objective, truncation=1, num_pairs=32, std=0.5)
    first, again = (estimator.init(affine.theta, affine.data, jax.random.key(0)) for _ in range(2))
    np.testing.assert_array_equal(first.num_truncations, again.num_truncations)
    assert len(np.unique(first.num_truncations)) > 4
    assert bool((first.last >= 1).all())
    assert bool((first.last <= first.num_truncations).all())


@pytest.mark.parametrize("build", [es, full_backprop])
def test_whole_runs_are_of_one_length(affine, build):
    objective = affine.objective._replace(run_length=log_uniform(num_steps=12, shortest=3))
    options = {"num_runs": 2} if build is full_backprop else {"num_pairs": 2, "std": 0.1}
    with pytest.raises(ValueError, match="run_length must be constant where an estimate takes"):
        build(objective, **options)


def test_constant_draws_nothing():
    assert constant(num_steps=12) is None


def test_the_longest_run_is_one():
    with pytest.raises(ValueError, match="num_steps must be positive, got 0"):
        constant(num_steps=0)


@pytest.mark.parametrize("name", ["log_uniform", "curriculum"])
@pytest.mark.parametrize("shortest", [0, 13])
def test_the_shortest_run_is_one_and_no_longer_than_the_longest(name, shortest):
    options = {"num_growing": 5} if name == "curriculum" else {}
    with pytest.raises(ValueError, match=rf"shortest must lie in \[1, 12\], got {shortest}"):
        RUN_LENGTHS[name](num_steps=12, shortest=shortest, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_growing": 0}, "num_growing must be positive, got 0"),
        ({"num_growing": 9, "jitter": 1.0}, r"jitter must lie in \[0, 1\), got 1\.0"),
        ({"num_growing": 9, "jitter": -0.1}, r"jitter must lie in \[0, 1\), got -0\.1"),
    ],
)
def test_bad_curricula(options, message):
    with pytest.raises(ValueError, match=message):
        curriculum(num_steps=12, shortest=3, **options)
