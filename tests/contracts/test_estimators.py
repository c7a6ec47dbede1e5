"""What every gradient estimator keeps, over the dict of estimators.

The rule under test adds `push`, which is its theta, to a step of gradient descent. On a quadratic
the weights are then affine and the meta-loss is quadratic in theta, where antithetic differences
are linear in the perturbation whatever its size: all estimators are exactly unbiased.
"""

import functools
import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof import inner_loop
from noiseproof.checkpoint import load_state, save_state
from noiseproof.inner_loop import Window
from noiseproof.metatrain import ESTIMATORS, Objective, recipe_of
from noiseproof.tasks.quadratic import QuadraticData, quadratic
from noiseproof.types import LearnedOptimizer, MetaEstimate

NUM_DIMENSIONS = 3
OPTIONS = {"num_pairs": 4, "num_runs": 4, "std": 0.5, "truncation": 2}


def options_of(name):
    return inspect.signature(ESTIMATORS[name]).parameters


WHOLE = {key: {"truncation": 8} for key in ("mixed", "tes", "truncated_backprop")}
"""Options that make a biased estimator an unbiased one."""
PAIRED = [key for key in ESTIMATORS if "num_pairs" in options_of(key)]
NUMBER = {key: "num_pairs" if key in PAIRED else "num_runs" for key in ESTIMATORS}
BACKWARD = {"full_backprop", "mixed", "truncated_backprop"}

THETA = {"push": jnp.array([0.1, -0.2, 0.3])}
DATA = QuadraticData(jnp.array([1.0, 2.0, -1.0]), jnp.array([-1.0, 0.5, 2.0]))


def pushed_descent() -> LearnedOptimizer:
    def optimizer(theta, _num_steps, _layout):
        def update(updates, state, params=None):
            return {"weight": theta["push"] - 0.1 * updates["weight"]}, state

        return optax.GradientTransformation(lambda _params: (), update)

    return LearnedOptimizer(lambda _key: THETA, optimizer)


CALLS = []
"""An entry for every gradient that a run of `NOISY` has taken."""

PLAIN_TASK = quadratic(num_dimensions=NUM_DIMENSIONS, noise_std=3.0)


def counted_loss(params, data, key):
    jax.debug.callback(lambda _: CALLS.append(None), params["weight"][0])
    return PLAIN_TASK.loss(params, data, key)


NOISY = Objective(
    PLAIN_TASK._replace(loss=counted_loss),
    pushed_descent(),
    None,
    num_steps=8,
    window=Window(max_loss=1e9),
)
SURE_TASK = quadratic(num_dimensions=NUM_DIMENSIONS)._replace(
    init=lambda _key: {"weight": jnp.array([0.5, -0.5, 1.0])}
)
SURE = NOISY._replace(task=SURE_TASK)
"""Without a draw in the run, so that its exact meta-gradient is one gradient."""


# Compiling takes most of these tests' time, and half of it is spent on speed they do not need.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


class Compiled(NamedTuple):
    """An estimator, compiled; `traces` has an entry for each time that it was traced."""

    init: Any
    estimate: Any
    traces: list


def compiled(estimator):
    traces = []

    def estimate(theta, state, data, key):
        traces.append(None)
        return estimator.estimate(theta, state, data, key)

    return Compiled(jit(estimator.init), jit(estimate), traces)


@pytest.fixture(scope="module", params=sorted(ESTIMATORS))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def build(name):
    """`(objective, **options) -> estimator`, of `OPTIONS` those that the builder has."""

    def build(objective, **changed):
        options = {key: value for key, value in OPTIONS.items() if key in options_of(name)}
        return ESTIMATORS[name](objective, **{**options, **changed})

    return build


@pytest.fixture(scope="module")
def noisy(build):
    return compiled(build(NOISY))


@pytest.fixture(scope="module")
def whole(name, build, noisy):
    """The same, with options that make it unbiased over whole runs."""
    return compiled(build(NOISY, **WHOLE[name])) if name in WHOLE else noisy


def follow(estimator, num_estimates, *, data=DATA):
    """Estimates one after the other at a fixed theta, and the last state."""
    state, found = estimator.init(THETA, data, jax.random.key(0)), []
    for step in range(num_estimates):
        one, state = estimator.estimate(THETA, state, data, jax.random.key(step))
        found.append(one)
    return found, state


def mean_loss(objective, theta):
    """Of a whole run, or of its last share."""
    return inner_loop.score(
        objective.task,
        recipe_of(objective, theta),
        DATA,
        objective.num_steps,
        jax.random.key(0),
        window=objective.window,
    )


@jit
def sure_loss(theta):
    return mean_loss(SURE, theta)


@functools.cache
def exact_gradient(objective):
    return jit(jax.grad(lambda theta: mean_loss(objective, theta)))(THETA)["push"]


def test_estimates_are_whole(noisy):
    """Among them that estimates one after the other are traced once."""
    estimates, _ = follow(noisy, 3)
    assert len(noisy.traces) == 1
    for found in estimates:
        assert isinstance(found, MetaEstimate)
        assert jax.tree.structure(found.gradient) == jax.tree.structure(THETA)
        assert found.gradient["push"].shape == (NUM_DIMENSIONS,)
        for number in (found.meta_loss, found.signal_to_noise, found.diverged_share):
            assert number.shape == ()
            assert bool(jnp.isfinite(number))
        assert float(found.signal_to_noise) > 0
        assert float(found.diverged_share) == 0


def test_agrees_with_backpropagation(name, build):
    """Unbiased over a whole run: every age of a pair is counted once in the last four estimates.

    What forgets at every truncation is unbiased where the truncation is the whole run.

    Only the second half of a run counts, much of which is owed to perturbations of the first. The
    tolerance is four standard errors of a mean of independent replicas, std / √replicas.
    """
    objective = SURE._replace(window=Window(last_share=0.5, max_loss=1e9))
    estimator, num_replicas = build(objective, **WHOLE.get(name, {})), 400

    @jit
    @jax.vmap
    def replica(key):
        init_key, key = jax.random.split(key)

        def one(state, key):
            found, state = estimator.estimate(THETA, state, DATA, key)
            return state, found.gradient["push"]

        state = estimator.init(THETA, DATA, init_key)
        _, gradients = jax.lax.scan(one, state, jax.random.split(key, 8))
        return gradients[4:].mean(axis=0)

    gradients = replica(jax.random.split(jax.random.key(1), num_replicas))
    exact = exact_gradient(objective)
    error = gradients.std(axis=0, ddof=1) / num_replicas**0.5
    # A sharp test: a gradient of half the size would not pass.
    size = float(jnp.linalg.norm(exact))
    assert float(4 * jnp.linalg.norm(error)) < 0.5 * size
    # Backpropagation has no spread here, but 16 roundings of 6e-8 each.
    assert bool((jnp.abs(gradients.mean(axis=0) - exact) < 4 * error + 1e-6 * size).all())


# Through the fixture: else `build` would stay that of the last name for the tests that follow.
@pytest.mark.parametrize("name", PAIRED, indirect=True, scope="module")
def test_both_runs_of_a_pair_share_their_draws(name, build, whole):
    """Where antithetic differences are linear, the size of a perturbation does not matter.

    Batches or weights of their own would change the losses by about 9 nats, and the gradients
    of the smaller perturbation by over a hundred. Rounding: losses below 100 nats, good to 1e-5,
    over 2 · 0.03.
    """
    large, _ = follow(whole, 5)
    small, _ = follow(compiled(build(NOISY, std=0.03, **WHOLE.get(name, {}))), 5)
    for one, other in zip(small, large, strict=True):
        found, expected = one.gradient["push"], other.gradient["push"]
        assert float(jnp.abs(expected).max()) > 0.5
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-2)


def test_goes_on_from_a_saved_state(noisy, tmp_path):
    """The same key gives the same estimate, bit for bit, and another key another."""
    _, state = follow(noisy, 3)
    save_state(tmp_path, 3, {"theta": THETA, "state": state})
    loaded = load_state(tmp_path, {"theta": THETA, "state": state})
    assert loaded is not None
    whole, _ = noisy.estimate(THETA, state, DATA, jax.random.key(3))
    resumed, _ = noisy.estimate(THETA, loaded[1]["state"], DATA, jax.random.key(3))
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)
    other, _ = noisy.estimate(THETA, state, DATA, jax.random.key(4))
    assert not np.array_equal(whole.gradient["push"], other.gradient["push"])


def test_counts_its_inner_steps(name, build, noisy):
    """Catches a number that is not what runs: every inner step takes one gradient.

    Where it is gone back over, it takes that gradient again, and need not have been kept.
    """
    num_passes = 2 if name in BACKWARD else 1
    jax.effects_barrier()
    before = len(CALLS)
    follow(noisy, 1)
    jax.effects_barrier()
    assert num_passes * build(NOISY).num_inner_steps == len(CALLS) - before


def test_diverging_particles_are_left_out_and_counted(name, build):
    """A third of the runs begins with nan; of 30 particles, 10 ± 4·2.6 are counted (four std).

    And training goes on: descent lowers the loss of runs that do not diverge.
    """

    def flawed_init(key):
        flawed = jax.random.uniform(jax.random.fold_in(key, 9)) < 1 / 3
        return {"weight": jnp.where(flawed, jnp.nan, PLAIN_TASK.init(key)["weight"])}

    objective = NOISY._replace(task=PLAIN_TASK._replace(init=flawed_init))
    estimator = compiled(build(objective, **{NUMBER[name]: 30}))
    theta, state = THETA, estimator.init(THETA, DATA, jax.random.key(0))
    for step in range(10):
        found, state = estimator.estimate(theta, state, DATA, jax.random.key(step))
        num_diverged = float(found.diverged_share * 30)
        assert 0 < num_diverged < 20.4
        assert num_diverged == pytest.approx(round(num_diverged), abs=1e-4)
        for leaf in jax.tree.leaves(found):
            assert bool(jnp.isfinite(leaf).all())
        theta = jax.tree.map(lambda leaf, slope: leaf - 0.02 * slope, theta, found.gradient)
    assert float(sure_loss(theta)) < 0.8 * float(sure_loss(THETA))


def test_where_all_diverge_there_is_no_gradient_and_no_loss(noisy):
    """Theta stays where it is, and nothing passes for a loss of 0 nats."""
    (found,), _ = follow(noisy, 1, data=DATA._replace(target=jnp.full(3, jnp.nan, jnp.float32)))
    np.testing.assert_array_equal(found.gradient["push"], 0.0)
    assert float(found.diverged_share) == 1
    assert bool(jnp.isnan(found.meta_loss))
    assert bool(jnp.isnan(found.signal_to_noise))


def test_there_must_be_a_particle(name, build):
    with pytest.raises(ValueError, match=f"{NUMBER[name]} must be positive, got 0"):
        build(NOISY, **{NUMBER[name]: 0})


# Through the fixture: else `build` would stay that of the last name for the tests that follow.
@pytest.mark.parametrize("name", PAIRED, indirect=True, scope="module")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"std": 0.0}, r"std must be positive, got 0\.0"),
        ({"std": -1.0}, r"std must be positive, got -1\.0"),
        ({"std": float("nan")}, "std must be positive, got nan"),
    ],
)
def test_bad_options(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(NOISY, **options)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"num_steps": 0}, "num_steps must be positive, got 0"),
        ({"window": Window(loss_interval=3)}, "loss_interval must divide num_steps = 8, got 3"),
    ],
)
def test_bad_objectives(build, parts, message):
    with pytest.raises(ValueError, match=message):
        build(NOISY._replace(**parts))


def test_unknown_options_are_refused(build):
    with pytest.raises(TypeError, match="num_particles"):
        build(NOISY, num_particles=3)
