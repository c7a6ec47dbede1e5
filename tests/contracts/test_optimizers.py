"""What every learned rule keeps, over the dict of learned optimizers."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof import inner_loop
from noiseproof.checkpoint import load_theta, save_theta
from noiseproof.layouts.layout import layout_of
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.tasks.quadratic import QuadraticData, quadratic
from noiseproof.types import LearnedOptimizer, Recipe, TensorRole

NUM_STEPS = 10
WITH_NETWORK = [
    name
    for name, rule in sorted(LEARNED_OPTIMIZERS.items())
    if "hidden_sizes" in inspect.signature(rule).parameters
]

# Compiling takes most of these tests' time, and half of it is spent on speed they do not need.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="module", params=sorted(LEARNED_OPTIMIZERS))
def builder(request):
    return LEARNED_OPTIMIZERS[request.param]


@pytest.fixture(scope="module")
def learned(builder):
    return builder()


@pytest.fixture(scope="module")
def theta(learned):
    return jit(learned.init)(jax.random.key(0))


@pytest.fixture(scope="module")
def optimizer(learned, theta):
    return learned.optimizer(theta, NUM_STEPS, LAYOUT)


@pytest.fixture(scope="module")
def update(optimizer):
    return jit(optimizer.update)


def random_tree(seed):
    """Params, or a gradient like them."""
    rng = np.random.default_rng(seed)
    shapes = {"weight": (4, 3), "bias": (3,)}
    return {name: jnp.array(rng.normal(size=s), jnp.float32) for name, s in shapes.items()}


PARAMS = random_tree(0)
LAYOUT = layout_of(PARAMS, (2, 2, 1))


def assert_close(found, expected):
    """Equal but for the rounding of two compilations."""
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-8), found, expected
    )


def test_theta_is_nested_dicts_of_float_arrays(learned, theta):
    """What a file of named arrays can hold."""
    assert isinstance(learned, LearnedOptimizer)

    def check(node):
        if isinstance(node, dict):
            assert all(isinstance(name, str) for name in node)
            return all(check(child) for child in node.values())
        assert isinstance(node, jax.Array)
        return node.dtype == jnp.float32

    assert isinstance(theta, dict)
    assert check(theta)


def test_theta_is_fixed_by_its_key(learned, theta):
    again, other = (jit(learned.init)(jax.random.key(seed)) for seed in (0, 1))
    jax.tree.map(np.testing.assert_array_equal, theta, again)
    if "network" not in theta:
        return  # a rule without a network has nothing to draw
    same = jax.tree.map(lambda a, b: bool((a == b).all()), theta, other)
    assert not all(jax.tree.leaves(same))


def test_theta_outlives_the_process(theta, tmp_path):
    save_theta(tmp_path, theta, {"rule": "any", "options": {}})
    loaded, _ = load_theta(tmp_path)
    assert jax.tree.structure(loaded) == jax.tree.structure(theta)
    jax.tree.map(np.testing.assert_array_equal, loaded, theta)


def test_updates_are_shaped_like_the_params(optimizer, update):
    state = optimizer.init(PARAMS)
    updates, after = update(random_tree(1), state, PARAMS)
    for tree in (state, after):
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(tree))
    assert jax.tree.structure(updates) == jax.tree.structure(PARAMS)
    for found, param in zip(jax.tree.leaves(updates), jax.tree.leaves(PARAMS), strict=True):
        assert found.shape == param.shape
        assert found.dtype == param.dtype
        assert bool(jnp.isfinite(found).all())
        assert float(jnp.abs(found).max()) > 0


def test_one_trace_over_three_steps(optimizer):
    """Catches a state whose types drift, and a step count kept in Python."""
    traces = []

    @jit
    def step(grads, state, params):
        traces.append(None)
        return optimizer.update(grads, state, params)

    state = optimizer.init(PARAMS)
    for seed in range(3):
        _, state = step(random_tree(seed), state, PARAMS)
    assert len(traces) == 1


def test_the_state_remembers(optimizer, update):
    """The same gradient again gives another step, and so does another before it."""
    grads, other = random_tree(1), random_tree(2)
    first, state = update(grads, optimizer.init(PARAMS), PARAMS)
    second, _ = update(grads, state, PARAMS)
    _, state = update(other, optimizer.init(PARAMS), PARAMS)
    after_other, _ = update(grads, state, PARAMS)
    for one, another in ((first, second), (first, after_other), (second, after_other)):
        assert not np.allclose(one["weight"], another["weight"], rtol=1e-3)


def test_each_theta_of_an_axis_acts_alone(learned, theta, optimizer, update):
    """The first of two is the theta of all other tests, the second another."""
    thetas = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf + 0.1]), theta)

    @jit
    @jax.vmap
    def first_update(theta):
        optimizer = learned.optimizer(theta, NUM_STEPS, LAYOUT)
        return optimizer.update(random_tree(1), optimizer.init(PARAMS), PARAMS)[0]

    together = first_update(thetas)
    alone, _ = update(random_tree(1), optimizer.init(PARAMS), PARAMS)
    assert_close(jax.tree.map(lambda leaf: leaf[0], together), alone)
    assert not np.allclose(together["weight"][1], alone["weight"], rtol=1e-3)


def test_takes_a_traced_run_length(learned, theta, optimizer, update):
    """So that runs of many lengths share one compiled loop."""
    state = optimizer.init(PARAMS)
    for seed in range(3):
        _, state = update(random_tree(seed), state, PARAMS)

    @jit
    def fourth_update(num_steps):
        traced = learned.optimizer(theta, num_steps, LAYOUT)
        return traced.update(random_tree(3), state, PARAMS)[0]

    expected, _ = update(random_tree(3), state, PARAMS)
    assert_close(fourth_update(jnp.int32(NUM_STEPS)), expected)


def test_is_an_optax_transformation(optimizer, update):
    """Behind clipping it sees the clipped gradient, and its updates are there to be added."""
    chain = optax.chain(optax.clip(0.5), optimizer)
    grads = random_tree(1)
    updates, _ = jit(chain.update)(grads, chain.init(PARAMS), PARAMS)
    clipped = jax.tree.map(lambda leaf: jnp.clip(leaf, -0.5, 0.5), grads)
    expected, _ = update(clipped, optimizer.init(PARAMS), PARAMS)
    assert_close(updates, expected)
    moved = optax.apply_updates(PARAMS, updates)
    assert_close(moved, jax.tree.map(jnp.add, PARAMS, expected))


def test_needs_the_params(optimizer):
    with pytest.raises(ValueError, match=r"needs params: call update\(grads, state, params\)"):
        optimizer.update(random_tree(1), optimizer.init(PARAMS))


def test_unknown_options_are_refused(builder):
    with pytest.raises(TypeError, match="num_hidden"):
        builder(num_hidden=3)


@pytest.mark.parametrize("sizes", [(), (4, 0)])
@pytest.mark.parametrize("name", WITH_NETWORK)
def test_hidden_sizes_must_be_positive(name, sizes):
    with pytest.raises(ValueError, match="hidden_sizes must be one or more positive counts"):
        LEARNED_OPTIMIZERS[name](hidden_sizes=sizes)


@pytest.mark.parametrize("name", WITH_NETWORK)
def test_hidden_sizes_make_the_network(name):
    rule = LEARNED_OPTIMIZERS[name](hidden_sizes=(5, 6, 7))
    network = jax.eval_shape(rule.init, jax.random.key(0))["network"]
    assert [network[f"bias_{index}"].shape for index in range(4)] == [(5,), (6,), (7,), (2,)]
    assert [network[f"weight_{index}"].shape[0] for index in range(4)] == [5, 6, 7, 2]


def test_an_untrained_rule_does_not_diverge(learned, theta):
    """Its 50 steps of about 0.001 to 0.003 move no weight far."""
    task = quadratic(num_dimensions=8, noise_std=0.1)
    data = QuadraticData(jnp.zeros(8), jnp.zeros(8))
    layout = {"weight": TensorRole("readout", (), 1.0)}
    recipe = Recipe(learned.optimizer(theta, 50, layout))
    train = jit(functools.partial(inner_loop.train, task, recipe, data, 50))
    run = train(jax.random.key(2))
    assert not bool(run.diverged)
    assert float(run.losses[-1]) < 2 * float(run.losses[0])
