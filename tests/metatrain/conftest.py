"""A rule and a task on which antithetic differences are exactly linear in the perturbation."""

import functools
from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import jax
import jax.numpy as jnp
import optax
import pytest

from noiseproof import inner_loop
from noiseproof.inner_loop import Window
from noiseproof.metatrain import Objective, outer_loop, recipe_of
from noiseproof.tasks.quadratic import QuadraticData, quadratic
from noiseproof.types import LearnedOptimizer


def pushed_descent() -> LearnedOptimizer:
    """Gradient descent plus a constant push, which is theta; the weights are affine in it."""

    def optimizer(theta, _num_steps, _layout):
        def update(updates, state, params=None):
            return {"weight": theta["push"] - 0.1 * updates["weight"]}, state

        return optax.GradientTransformation(lambda _params: (), update)

    return LearnedOptimizer(lambda _key: {"push": jnp.zeros(2)}, optimizer)


def exact_gradient(objective, theta, data):
    """Of the mean meta-loss of a whole run, by backpropagation."""

    def mean_loss(theta):
        task, recipe, num_steps = objective.task, recipe_of(objective, theta), objective.num_steps
        key = jax.random.key(0)
        return inner_loop.score(task, recipe, data, num_steps, key, window=objective.window)

    return jax.jit(jax.grad(mean_loss))(theta)["push"]


def truncated_gradient(objective, theta, run, data, num_steps, run_key):
    """Of the mean meta-loss of the next steps of a run, by backpropagation through a plain loop."""

    def mean_loss(theta, state):
        recipe, losses = recipe_of(objective, theta), []
        for _ in range(num_steps):
            state, _ = inner_loop.step(objective.task, recipe, state, data, run_key)
            outer_key = inner_loop.step_keys(state.step, run_key)[2]
            losses.append(inner_loop.meta_loss(objective.task, recipe, state, data, outer_key))
        return sum(losses) / num_steps

    return jax.jit(jax.grad(mean_loss))(theta, run)


@pytest.fixture(scope="session", autouse=True)
def built_once() -> Iterator[None]:
    """Meta-training of one objective, estimator and plan is compiled once for all tests."""
    with mock.patch.object(outer_loop, "build_steps", functools.cache(outer_loop.build_steps)):
        yield


@pytest.fixture(scope="session")
def affine() -> SimpleNamespace:
    """`objective`, of 12 noisy steps, with `theta` and `data`.

    And `sure`, the same without a draw in its runs, whose gradient is `exact`; and
    `truncated_gradient`, the function.
    """
    task = quadratic(num_dimensions=2, noise_std=1.0)
    sure_task = quadratic(num_dimensions=2)._replace(init=lambda _key: {"weight": jnp.zeros(2)})
    window = Window(max_loss=1e9)
    objective = Objective(task, pushed_descent(), None, num_steps=12, window=window)
    sure = objective._replace(task=sure_task)
    theta = {"push": jnp.array([0.3, -0.2])}
    data = QuadraticData(jnp.array([1.0, 2.0]), jnp.array([-1.0, 0.5]))
    return SimpleNamespace(
        objective=objective,
        sure=sure,
        theta=theta,
        data=data,
        exact=exact_gradient(sure, theta, data),
        truncated_gradient=truncated_gradient,
    )
