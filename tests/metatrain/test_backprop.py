"""Backpropagation through inner training: its values, its bias, its memory, its divergence."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof import inner_loop
from noiseproof.inner_loop import Window
from noiseproof.metatrain import Objective, full_backprop, recipe_of, truncated_backprop
from noiseproof.tasks.quadratic import QuadraticData, quadratic
from noiseproof.types import LearnedOptimizer, Task

TRUNCATION = 3


def learned_momentum():
    """Momentum whose rate and decay are theta, through an exponential and a sigmoid."""

    def optimizer(theta, _num_steps, _layout):
        def init(params):
            return optax.tree.zeros_like(params)

        def update(updates, state, params=None):
            decay = jax.nn.sigmoid(theta["decay"])
            state = jax.tree.map(lambda m, g: decay * m + (1 - decay) * g, state, updates)
            return optax.tree.scale(-jnp.exp(theta["log_rate"]), state), state

        return optax.GradientTransformation(init, update)

    return LearnedOptimizer(lambda _key: {"log_rate": -2.0, "decay": 0.0}, optimizer)


def test_the_whole_run_against_finite_differences():
    """Of a rule that is not linear, from the mean over the last half of two runs.

    Central differences with h = 0.01 are off by h² / 6 of the third derivative, below 1e-4 of the
    gradient, and by rounding, 1e-6 of a loss of order one over 2h.
    """
    task = quadratic(num_dimensions=3, noise_std=0.1)
    objective = Objective(
        task,
        learned_momentum(),
        None,
        num_steps=20,
        window=Window(loss_interval=2, last_share=0.5),
    )
    data = QuadraticData(jnp.array([1.0, -1.0, 0.5]), jnp.array([-1.0, 1.0, 1.0]))
    theta = {"log_rate": jnp.float32(-2.0), "decay": jnp.float32(0.3)}
    estimator = full_backprop(objective, num_runs=2)
    state = estimator.init(theta, data, jax.random.key(0))

    @jax.jit
    def estimate(log_rate, decay):
        theta = {"log_rate": log_rate, "decay": decay}
        return estimator.estimate(theta, state, data, jax.random.key(1))[0]

    middle = np.array([theta["log_rate"], theta["decay"]])
    found = estimate(*middle)
    for axis, name in enumerate(("log_rate", "decay")):
        move = 0.01 * np.eye(2, dtype=np.float32)[axis]
        above, below = (float(estimate(*at).meta_loss) for at in (middle + move, middle - move))
        expected = (above - below) / 0.02
        assert abs(expected) > 0.05
        assert float(found.gradient[name]) == pytest.approx(expected, rel=1e-3, abs=2e-4)


@pytest.fixture(scope="module")
def midway(affine):
    """Four runs in the middle, and the estimate of a truncation from there."""
    estimator = truncated_backprop(affine.objective, truncation=TRUNCATION, num_runs=4)
    estimate = jax.jit(estimator.estimate)
    state = estimator.init(affine.theta, affine.data, jax.random.key(0))
    for step in range(5):
        _, state = estimate(affine.theta, state, affine.data, jax.random.key(step))
    found, after = estimate(affine.theta, state, affine.data, jax.random.key(9))
    return state, found, after


def test_the_gradient_of_a_truncation_in_closed_form(affine, midway):
    """After j steps of a truncation the weight moves by (1 - 0.9^j) / 0.1 with the push.

    Catches a gradient that reaches back over the truncation, and a mean over other losses.
    """
    state, found, _ = midway
    goes_on = np.asarray(state.age < state.last)
    assert goes_on.sum() == 3
    task, recipe = affine.objective.task, recipe_of(affine.objective, affine.theta)
    gradients = []
    for index in np.flatnonzero(goes_on):
        run = jax.tree.map(lambda leaf, index=index: leaf[index], state)
        inner, parts = run.carry, []
        for step in range(TRUNCATION):
            inner, _ = inner_loop.step(task, recipe, inner, affine.data, run.run_key)
            distance = inner.params["weight"] - affine.data.outer_target
            parts.append(distance * (1 - 0.9 ** (step + 1)) / 0.1)
        gradients.append(np.mean(parts, axis=0))
    # The fourth run is new, from weights that only its key knows.
    (index,) = np.flatnonzero(~goes_on)
    key = jax.random.split(jax.random.fold_in(jax.random.key(9), index))[0]
    fresh = inner_loop.init(task, recipe, key)
    gradients.append(
        affine.truncated_gradient(
            affine.objective, affine.theta, fresh, affine.data, TRUNCATION, key
        )["push"]
    )
    np.testing.assert_allclose(found.gradient["push"], np.mean(gradients, axis=0), rtol=1e-4)


def test_runs_go_on_at_theta(affine, midway):
    """Staggered, and from where they were, with nothing added to theta."""
    state, _, after = midway
    assert sorted(np.asarray(after.age)) == [1, 2, 3, 4]
    np.testing.assert_array_equal(after.carry.step, TRUNCATION * after.age)
    index = int(jnp.argmin(jnp.where(state.age < state.last, state.age, 99)))
    run = jax.tree.map(lambda leaf: leaf[index], state)
    recipe = recipe_of(affine.objective, affine.theta)
    expected, _ = inner_loop.advance(
        affine.objective.task, recipe, run.carry, affine.data, TRUNCATION, run.run_key
    )
    np.testing.assert_allclose(
        after.carry.params["weight"][index], expected.params["weight"], rtol=1e-6
    )


def test_truncation_is_biased(affine):
    """Over a whole run of truncations the sum is not the run's gradient, but smaller."""
    estimator = truncated_backprop(affine.sure, truncation=TRUNCATION, num_runs=4)
    estimate = jax.jit(estimator.estimate)
    state = estimator.init(affine.theta, affine.data, jax.random.key(0))
    for step in range(5):
        found, state = estimate(affine.theta, state, affine.data, jax.random.key(step))
    size = np.linalg.norm(affine.exact)
    assert np.linalg.norm(found.gradient["push"]) < 0.8 * size


def wide_task():
    """One whose loss takes 64 kB to differentiate, and its weights 16 bytes."""

    def loss(params, data, key):
        return jnp.tanh(jnp.outer(data, jnp.tile(params["weight"], 32))).mean()

    return Task(lambda _key: {"weight": jnp.ones(4)}, loss, loss, lambda data, _key: data)


def test_memory_does_not_grow_with_what_a_step_takes():
    """Only the states between loss intervals are kept: 64 times the steps, less than twice."""

    def peak(num_steps):
        objective = Objective(wide_task(), learned_momentum(), None, num_steps=num_steps)
        estimator = full_backprop(objective, num_runs=1)
        theta = {"log_rate": jnp.float32(-2.0), "decay": jnp.float32(0.0)}
        data = jnp.ones(128)
        key = jax.random.key(0)
        state = estimator.init(theta, data, key)
        compiled = jax.jit(estimator.estimate).lower(theta, state, data, key).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert peak(128) < 2 * peak(2)


def test_an_exploded_gradient_counts_as_diverged(affine):
    """The losses are finite and the gradient is not: left out, so that theta stays finite."""

    def meta_loss(params, data, key):
        # At zero a root is finite and its slope is not.
        return jnp.sqrt(jnp.abs(params["weight"] * jnp.float32(0.0)).sum())

    task = affine.objective.task._replace(meta_loss=meta_loss)
    estimator = truncated_backprop(affine.objective._replace(task=task), truncation=3, num_runs=2)
    key = jax.random.key(0)
    state = estimator.init(affine.theta, affine.data, key)
    found, _ = jax.jit(estimator.estimate)(affine.theta, state, affine.data, key)
    assert float(found.diverged_share) == 1.0
    np.testing.assert_array_equal(found.gradient["push"], 0.0)


def test_a_clipped_loss_has_no_gradient(affine):
    objective = affine.objective._replace(window=Window(max_loss=1e-6))
    estimator = full_backprop(objective, num_runs=2)
    key = jax.random.key(0)
    state = estimator.init(affine.theta, affine.data, key)
    found, _ = jax.jit(estimator.estimate)(affine.theta, state, affine.data, key)
    np.testing.assert_array_equal(found.gradient["push"], 0.0)
    assert float(found.diverged_share) == 0.0


def test_a_run_counts_by_its_direction_where_it_is_clipped(affine):
    """Each run's gradient is clipped, not their mean; one within the norm stays as it is."""

    def estimate(max_norm, num_runs=1):
        estimator = full_backprop(affine.objective, num_runs=num_runs, max_norm=max_norm)
        state = estimator.init(affine.theta, affine.data, jax.random.key(0))
        found, _ = jax.jit(estimator.estimate)(affine.theta, state, affine.data, jax.random.key(1))
        return np.asarray(found.gradient["push"])

    plain = estimate(None)
    norm = float(np.linalg.norm(plain))
    np.testing.assert_allclose(estimate(norm / 8), plain / 8, rtol=1e-5)
    np.testing.assert_allclose(estimate(2 * norm), plain, rtol=1e-6)
    # Two directions of one length have a shorter mean; a clipped mean has the length itself.
    assert np.linalg.norm(estimate(norm / 8, num_runs=2)) < norm / 8 * (1 - 1e-4)


def test_a_chaotic_run_has_a_finite_gradient_where_it_is_clipped(affine):
    """Every step of the logistic map doubles what flows back, which overflows after 128."""

    def optimizer(theta, _num_steps, _layout):
        def update(_updates, state, params):
            to = jax.tree.map(lambda x: (3.99 + theta["push"][0]) * x * (1 - x), params)
            return jax.tree.map(jnp.subtract, to, params), state

        return optax.GradientTransformation(lambda _params: (), update)

    learned = LearnedOptimizer(lambda _key: {"push": jnp.zeros(2)}, optimizer)
    start = {"weight": jnp.array([0.3, 0.6])}
    task = affine.objective.task._replace(init=lambda _key: start)
    objective = Objective(task, learned, None, num_steps=400, window=Window(loss_interval=10))
    theta, key = {"push": jnp.zeros(2)}, jax.random.key(0)

    def estimate(max_norm):
        estimator = full_backprop(objective, num_runs=1, max_norm=max_norm)
        state = estimator.init(theta, affine.data, key)
        return jax.jit(estimator.estimate)(theta, state, affine.data, key)[0]

    assert float(estimate(None).diverged_share) == 1.0
    found = estimate(0.5)
    assert float(found.diverged_share) == 0.0
    np.testing.assert_allclose(np.linalg.norm(found.gradient["push"]), 0.5, rtol=1e-5)


def test_a_norm_that_is_not_positive_is_refused(affine):
    with pytest.raises(ValueError, match=r"max_norm must be positive, got 0\.0"):
        full_backprop(affine.objective, num_runs=1, max_norm=0.0)
