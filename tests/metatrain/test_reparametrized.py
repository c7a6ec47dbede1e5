"""Weights divided by random scales: the same function, other gradients."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof import inner_loop
from noiseproof.inner_loop import Window
from noiseproof.layouts.layout import layout_of
from noiseproof.metatrain import Objective, pes, recipe_of, reparametrized
from noiseproof.metatrain.reparametrized import LEVELS, weights_only
from noiseproof.metatrain.unrolling import start_run
from noiseproof.models import mlp
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.mixtures import Component, clean
from noiseproof.tasks.outer_losses import mixture
from noiseproof.types import Batch, LearnedOptimizer

IMAGE_SHAPE = (2, 2, 1)
RATE = 0.1

# Compiling takes most of these tests' time, and half of it is spent on speed they do not need.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def descent() -> LearnedOptimizer:
    """Gradient descent; theta moves the rate a little."""
    return LearnedOptimizer(
        lambda _key: {"rate": jnp.array(RATE)},
        lambda theta, _steps, _layout: optax.sgd(theta["rate"]),
    )


MODEL = mlp(image_shape=IMAGE_SHAPE, num_classes=3, hidden_sizes=(4,))
TASK = image_classification(
    MODEL, batch_size=6, outer_batch_size=6, outer_loss=mixture(Component(1.0, clean)), pool_size=8
)
PARAMS = MODEL.init(jax.random.key(5))
LAYOUT = layout_of(PARAMS, IMAGE_SHAPE)
PLAIN = Objective(TASK, descent(), LAYOUT, num_steps=4, window=Window(loss_interval=2))
THETA = descent().init(jax.random.key(0))


def data() -> TaskData:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (20, *IMAGE_SHAPE), dtype=np.uint8)
    split = Batch(jnp.array(images), jnp.array(draw.integers(0, 3, 20), jnp.int32))
    return TASK.refresh(TaskData(split, split), jax.random.key(1))


def product(params):
    return jax.tree.map(jnp.multiply, params.weights, params.scales)


def assert_close(found, expected, rtol=1e-4, atol=1e-6):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), found, expected
    )


@pytest.mark.parametrize("level", LEVELS)
def test_the_losses_are_the_same_and_descent_is_scaled_by_squares(level: str) -> None:
    """w = s·v and v ← v - r·s·g, so that w ← w - r·s²·g with the gradient g at w."""
    augmented = reparametrized(PLAIN, level=level, low=0.1, high=10.0)
    run_key, batches = jax.random.key(2), data()

    @jit
    def one_step(run_key):
        states = [start_run(objective, THETA, run_key) for objective in (PLAIN, augmented)]
        after, loss = inner_loop.step(
            augmented.task, recipe_of(augmented, THETA), states[1], batches, run_key
        )
        batch_key, *_ = inner_loop.step_keys(jnp.int32(0), run_key)
        plain_loss, grads = jax.value_and_grad(TASK.loss)(states[0].params, batches, batch_key)
        meta_losses = [
            objective.task.meta_loss(state.params, batches, run_key)
            for objective, state in zip((PLAIN, augmented), states, strict=True)
        ]
        return (
            states[0].params,
            states[1].params,
            after.params,
            grads,
            (plain_loss, loss),
            meta_losses,
        )

    plain, before, after, grads, losses, meta_losses = one_step(run_key)
    assert_close(product(before), plain)
    assert float(losses[1]) == pytest.approx(float(losses[0]), rel=1e-4)
    assert float(meta_losses[1]) == pytest.approx(float(meta_losses[0]), rel=1e-4)
    moved = jax.tree.map(lambda w, s, g: w - RATE * s**2 * g, plain, before.scales, grads)
    assert_close(product(after), moved)
    jax.tree.map(np.testing.assert_array_equal, after.scales, before.scales)
    assert any(not np.allclose(scale, 1.0, rtol=0.1) for scale in jax.tree.leaves(before.scales))


def test_levels_say_what_has_a_scale_of_its_own() -> None:
    scales = {}
    for level in LEVELS:
        task = reparametrized(PLAIN, level=level).task
        scales[level] = jax.tree.leaves(task.init(jax.random.key(0)).scales)
    shapes = [leaf.shape for leaf in jax.tree.leaves(PARAMS)]
    assert len({float(scale) for scale in scales["global"]}) == 1
    assert len({float(scale) for scale in scales["tensor"]}) == len(shapes)
    assert [scale.shape for scale in scales["weight"]] == shapes
    assert len(np.unique(np.concatenate([scale.ravel() for scale in scales["weight"]]))) == sum(
        map(math.prod, shapes)
    )


def test_scales_are_log_uniform_and_drawn_anew_every_run() -> None:
    """Of n draws x, uniform between ±a, the means of x and of x² have known errors.

    Their standard errors are a/√(3n) and a²·√(4/(45n)); the bars are four of them.
    """
    task = reparametrized(PLAIN, level="tensor", low=1e-2, high=1e2).task
    keys = jax.random.split(jax.random.key(3), 500)
    leaves = jax.tree.leaves(jax.jit(jax.vmap(lambda key: task.init(key).scales))(keys))
    draws, limit = np.log(np.concatenate(leaves)), math.log(1e2)
    num_draws = len(draws)
    assert num_draws == 500 * len(jax.tree.leaves(PARAMS))
    assert np.abs(draws).max() <= limit * (1 + 1e-6)
    assert abs(draws.mean()) < 4 * limit / math.sqrt(3 * num_draws)
    error = limit**2 * math.sqrt(4 / (45 * num_draws))
    assert abs((draws**2).mean() - limit**2 / 3) < 4 * error


@pytest.mark.parametrize("name", LEARNED_OPTIMIZERS)
def test_a_rule_sees_the_weights_alone(name: str) -> None:
    """Catches a rule that is given scales, or a layout that is not that of its weights."""
    learned = LEARNED_OPTIMIZERS[name]()
    theta = learned.init(jax.random.key(0))
    params = reparametrized(PLAIN).task.init(jax.random.key(1))
    grads = jax.tree.map(lambda leaf: 0.1 + jnp.cos(leaf), params)

    @jit
    def changes(theta):
        plain = learned.optimizer(theta, 4, LAYOUT)
        wrapped = weights_only(learned).optimizer(theta, 4, LAYOUT)
        expected, _ = plain.update(grads.weights, plain.init(params.weights), params.weights)
        found, _ = wrapped.update(grads, wrapped.init(params), params)
        return expected, found

    expected, found = changes(theta)
    assert_close(found.weights, expected, atol=1e-9)
    assert any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(expected))
    assert all(not leaf.any() for leaf in jax.tree.leaves(found.scales))


def test_scales_of_one_change_nothing() -> None:
    """The slow twin: an estimate with all scales one is that without."""
    batches, found = data(), []
    for objective in (PLAIN, reparametrized(PLAIN, low=1.0, high=1.0)):
        estimator = pes(objective, truncation=2, num_pairs=2, std=0.01)
        state = jit(estimator.init)(THETA, batches, jax.random.key(0))
        found.append(jit(estimator.estimate)(THETA, state, batches, jax.random.key(1))[0])
    assert float(found[1].meta_loss) == pytest.approx(float(found[0].meta_loss), rel=1e-5)
    # Differences of losses of one nat, each good to 1e-6, over 2 · 0.01.
    difference = abs(float(found[1].gradient["rate"]) - float(found[0].gradient["rate"]))
    assert difference < 1e-4 < abs(float(found[0].gradient["rate"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "layer"}, "level must be one of global, tensor, weight, got layer"),
        ({"low": 0.0}, r"must be positive, low at most high, got 0\.0 to 1000\.0"),
        ({"low": 2.0, "high": 1.0}, r"must be positive, low at most high, got 2\.0 to 1\.0"),
        ({"high": math.inf}, r"must be positive, low at most high, got 0\.001 to inf"),
        ({"low": math.nan}, r"must be positive, low at most high, got nan to 1000\.0"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reparametrized(PLAIN, **options)
