"""Inner training: the only place where an optimizer meets a task.

One classifier, one seed; seeds, pairs and trials are axes outside, see `over_runs`. A run is fixed
by its key: initial weights, batches and the draws of a recipe are the same for every recipe
under one key, so that differences between recipes are paired.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, Scalar

from noiseproof.types import Data, Params, Recipe, Task


class InnerState(NamedTuple):
    """A classifier in training.

    Attributes:
        params: Its weights.
        optimizer_state: The state of the recipe's optimizer.
        step: Steps taken.
    """

    params: Params
    optimizer_state: Any
    step: Int[Array, ""]


class Run(NamedTuple):
    """A finished run.

    Attributes:
        params: The recipe's answer, the weights that are judged.
        losses: The training loss of every step.
        meta_loss: Mean meta-loss over the last part of the run, nan where none was asked for.
        diverged: Whether a training loss was not finite.
    """

    params: Params
    losses: Float[Array, " num_steps"]
    meta_loss: Scalar
    diverged: Bool[Array, ""]


def over_runs(one_run: Callable[..., Any], *, in_turn: bool) -> Callable[..., Any]:
    """`one_run` of many, which lie along the first axis of every argument and result.

    Args:
        one_run: A function of arrays.
        in_turn: Whether one goes after the other, see `Task.in_turn`, or all are stacked.
    """
    if not in_turn:
        return jax.vmap(one_run)
    return lambda *own: jax.lax.map(lambda one: one_run(*one), own)


def init(task: Task, recipe: Recipe, key: PRNGKeyArray) -> InnerState:
    """A fresh classifier."""
    params = task.init(jax.random.fold_in(key, 0))
    return InnerState(params, recipe.optimizer.init(params), jnp.zeros((), jnp.int32))


def step(
    task: Task, recipe: Recipe, state: InnerState, data: Data, run_key: PRNGKeyArray
) -> tuple[InnerState, Scalar]:
    """One training step; returns the new state and the loss before it."""
    return step_under(task, recipe, state, data, step_keys(state.step, run_key))


def step_under(
    task: Task, recipe: Recipe, state: InnerState, data: Data, keys: Key[Array, " 3"]
) -> tuple[InnerState, Scalar]:
    """`step` under keys that are known already."""
    batch_key, perturb_key, _ = keys

    def loss_at(params: Params) -> Scalar:
        return training_loss(task, recipe, params, data, batch_key)

    def constant_grads(params: Params) -> Params:
        return jax.grad(loss_at)(jax.lax.stop_gradient(params))

    def perturbed_loss(params: Params) -> Scalar:
        return loss_at(recipe.perturb(params, constant_grads, perturb_key))

    loss, grads = jax.value_and_grad(perturbed_loss)(state.params)
    updates, optimizer_state = recipe.optimizer.update(grads, state.optimizer_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return InnerState(params, optimizer_state, state.step + 1), loss


def training_loss(
    task: Task, recipe: Recipe, params: Params, data: Data, key: PRNGKeyArray
) -> Scalar:
    """The loss that a recipe descends, of the batch of `key`."""
    if recipe.regularization is None:
        return task.loss(params, data, key)
    if task.regularized_loss is None:
        raise ValueError("The recipe needs a task with a regularized_loss, got one without.")
    return task.regularized_loss(params, data, recipe.regularization, key)


def step_keys(step: Int[Array, ""], run_key: PRNGKeyArray) -> Key[Array, " 3"]:
    """The keys of a step: for the batch, for the recipe, for the meta-loss before it."""
    return jax.random.split(jax.random.fold_in(run_key, step + 1), 3)


def stretch_keys(
    first: Int[Array, ""], num_steps: int, run_key: PRNGKeyArray
) -> Key[Array, "num_steps 3"]:
    """The keys of several steps at once, which costs little more than those of one."""
    return jax.vmap(step_keys, in_axes=(0, None))(first + jnp.arange(num_steps), run_key)


def advance(
    task: Task,
    recipe: Recipe,
    state: InnerState,
    data: Data,
    num_steps: int,
    run_key: PRNGKeyArray,
) -> tuple[InnerState, Float[Array, " num_steps"]]:
    """`num_steps` training steps and their losses."""
    return advance_under(task, recipe, state, data, stretch_keys(state.step, num_steps, run_key))


def advance_under(
    task: Task,
    recipe: Recipe,
    state: InnerState,
    data: Data,
    keys: Key[Array, "num_steps 3"],
) -> tuple[InnerState, Float[Array, " num_steps"]]:
    """`advance` under keys that are known already."""

    def one_step(state: InnerState, keys: Key[Array, " 3"]) -> tuple[InnerState, Scalar]:
        return step_under(task, recipe, state, data, keys)

    return jax.lax.scan(one_step, state, keys)


def meta_loss(
    task: Task, recipe: Recipe, state: InnerState, data: Data, run_key: PRNGKeyArray
) -> Scalar:
    """The meta-loss of the recipe's answer after the last step taken."""
    return meta_loss_under(task, recipe, state, data, step_keys(state.step, run_key)[2])


def meta_loss_under(
    task: Task, recipe: Recipe, state: InnerState, data: Data, outer_key: PRNGKeyArray
) -> Scalar:
    """`meta_loss` under a key that is known already."""
    return task.meta_loss(recipe.answer(state.params, state.optimizer_state), data, outer_key)


def train(
    task: Task,
    recipe: Recipe,
    data: Data,
    num_steps: int,
    key: PRNGKeyArray,
    *,
    scored_share: float = 0.0,
) -> Run:
    """Trains one classifier from its initial weights.

    Args:
        task: The inner problem.
        recipe: How it is trained.
        data: The task's data, refreshed if the run is scored.
        num_steps: Length of the run.
        key: Fixes initial weights, batches and all draws.
        scored_share: The last share of the run, in [0, 1], after each of whose steps the
            meta-loss is taken, but at least after the last step; 0 scores nothing.
    """
    if not 0.0 <= scored_share <= 1.0:
        raise ValueError(f"scored_share must lie in [0, 1], got {scored_share}.")
    num_scored = max(round(num_steps * scored_share), 1) if scored_share else 0

    def scored_step(state: InnerState, _: None) -> tuple[InnerState, tuple[Scalar, Scalar]]:
        state, loss = step(task, recipe, state, data, key)
        return state, (loss, meta_loss(task, recipe, state, data, key))

    state = init(task, recipe, key)
    state, losses = advance(task, recipe, state, data, num_steps - num_scored, key)
    mean_score = jnp.array(jnp.nan)
    if num_scored:
        state, (late, scores) = jax.lax.scan(scored_step, state, length=num_scored)
        losses, mean_score = jnp.concatenate([losses, late]), scores.mean()
    answer = recipe.answer(state.params, state.optimizer_state)
    if task.finish is not None:
        answer = task.finish(answer, data, key)
    return Run(answer, losses, mean_score, ~jnp.isfinite(losses).all())
