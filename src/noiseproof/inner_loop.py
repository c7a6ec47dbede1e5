"""Inner training: the only place where an optimizer meets a task.

One classifier, one seed; seeds, pairs and trials are axes outside, see `over_runs`. A run is fixed
by its key: initial weights, batches and the draws of a recipe are the same for every recipe
under one key, so that differences between recipes are paired.
"""

from collections.abc import Callable
from functools import partial
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
        diverged: Whether a training loss, or a weight in the end, was not finite.
    """

    params: Params
    losses: Float[Array, " num_steps"]
    diverged: Bool[Array, ""]


class Window(NamedTuple):
    """Which meta-losses of a run count: one number for theta, for its choice and for rivals.

    A run's loss is the mean over the meta-losses that are taken every `loss_interval` steps within
    the last `last_share` of the run, each clipped at `max_loss`.

    Attributes:
        loss_interval: Steps between two evaluations of the meta-loss.
        last_share: The last share of a run whose meta-loss counts, in (0, 1]; 1 is the whole run.
            The last meta-loss counts however small the share.
        max_loss: Losses above count as this, so that no single run rules a mean, in nats.
    """

    loss_interval: int = 1
    last_share: float = 1.0
    max_loss: float = 10.0


class Losses(NamedTuple):
    """The meta-losses of a stretch of a run, or of several along leading axes.

    Attributes:
        weighted: Each loss, clipped, times its weight.
        weights: 0 for a loss before the window; else such that weights average 1 over a whole run.
        finite: Whether every loss of the stretch was, in training and outside.
    """

    weighted: Float[Array, "*runs losses"]
    weights: Float[Array, "*runs losses"]
    finite: Bool[Array, "*runs"]


def check_window(window: Window, num_steps: int) -> None:
    """Raises ValueError where a window makes no sense, or does not fit runs of `num_steps`."""
    interval = window.loss_interval
    if num_steps < 1:
        raise ValueError(f"num_steps must be positive, got {num_steps}.")
    if interval < 1 or num_steps % interval:
        raise ValueError(f"loss_interval must divide num_steps = {num_steps}, got {interval}.")
    if not 0.0 < window.last_share <= 1.0:
        raise ValueError(f"last_share must lie in (0, 1], got {window.last_share}.")
    if not window.max_loss > 0:
        raise ValueError(f"max_loss must be positive, got {window.max_loss}.")


def faster_in_turn(params: Params, platform: str) -> bool:
    """Whether many classifiers like this are trained faster one after another than stacked.

    So are those with filters on a CPU, where XLA multiplies stacked matrices of image patches three
    times slower than one at a time.

    Args:
        params: The classifier's weights, or their shapes.
        platform: As `jax.default_backend()` says.
    """
    return platform == "cpu" and any(leaf.ndim == 4 for leaf in jax.tree.leaves(params))


def over_runs(one_run: Callable[..., Any], *, in_turn: bool) -> Callable[..., Any]:
    """`one_run` of many, which lie along the first axis of every argument and result.

    Args:
        one_run: A function of arrays.
        in_turn: Whether one goes after the other, see `faster_in_turn`, or all are stacked.
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
    task: Task, recipe: Recipe, state: InnerState, data: Data, outer_key: PRNGKeyArray
) -> Scalar:
    """The meta-loss of the recipe's answer after the last step taken, under the step's key."""
    return task.meta_loss(recipe.answer(state.params, state.optimizer_state), data, outer_key)


def unroll(
    task: Task,
    recipe: Recipe,
    state: InnerState,
    data: Data,
    num_steps: int,
    run_key: PRNGKeyArray,
    *,
    window: Window,
    run_length: int | Int[Array, ""],
    passed_on: Callable[[InnerState], InnerState] = lambda state: state,
) -> tuple[InnerState, Losses]:
    """Goes `num_steps` on and takes the meta-losses on the way.

    The mean weighted loss of a whole run is that over its window.

    Args:
        task: The inner problem.
        recipe: How it is trained.
        state: Where the run is, at the beginning of a loss interval.
        data: The task's data, refreshed.
        num_steps: Steps to take, whole loss intervals.
        run_key: Fixes all draws.
        window: What counts.
        run_length: Steps of the whole run.
        passed_on: What every loss interval makes of the state that it is given; for those who
            differentiate.
    """
    interval = window.loss_interval
    # The last loss counts however small the share; the length of a run may be traced.
    num_counted_steps = jnp.maximum(jnp.round(run_length * window.last_share), 1)
    num_counted_steps = num_counted_steps.astype(jnp.int32)
    first_counted = run_length - num_counted_steps
    num_losses = run_length // interval
    num_counted = num_losses - first_counted // interval

    # Drawn for all steps at once, outside the loop; a loss has a key of the step that follows.
    keys = stretch_keys(state.step, num_steps + 1, run_key)
    own_keys = keys[:-1].reshape(-1, interval, keys.shape[1])
    outer_keys = keys[interval::interval, 2]

    # Backpropagation keeps the states between intervals and goes through each interval again.
    @partial(jax.checkpoint, prevent_cse=False)
    def one_interval(
        state: InnerState, keys: tuple[Key[Array, "interval 3"], PRNGKeyArray]
    ) -> tuple[InnerState, Losses]:
        own, outer = keys
        state, losses = advance_under(task, recipe, passed_on(state), data, own)
        loss = meta_loss(task, recipe, state, data, outer)
        weight = jnp.where(state.step > first_counted, num_losses / num_counted, 0.0)
        clipped = jnp.minimum(loss, window.max_loss)
        finite = jnp.isfinite(losses).all() & jnp.isfinite(loss)
        return state, Losses(weight * clipped, weight, finite)

    state, losses = jax.lax.scan(one_interval, state, (own_keys, outer_keys))
    return state, losses._replace(finite=losses.finite.all())


def score(
    task: Task,
    recipe: Recipe,
    data: Data,
    num_steps: int,
    key: PRNGKeyArray,
    *,
    window: Window,
) -> Scalar:
    """Trains one classifier and gives its loss over the window; infinite where it diverged.

    It is the mean weighted loss of `unroll` over the whole run, without the meta-losses that do not
    count.

    Args:
        task: The inner problem.
        recipe: How it is trained.
        data: The task's data, refreshed.
        num_steps: Length of the run.
        key: Fixes initial weights, batches and all draws.
        window: What counts.

    Raises:
        ValueError: The window makes no sense, or does not fit the run.
    """
    check_window(window, num_steps)
    num_counted_steps = max(round(num_steps * window.last_share), 1)
    num_before = num_steps - num_counted_steps
    num_before -= num_before % window.loss_interval
    state = init(task, recipe, key)
    state, early = advance(task, recipe, state, data, num_before, key)
    num_left = num_steps - num_before
    _, late = unroll(task, recipe, state, data, num_left, key, window=window, run_length=num_steps)
    loss = late.weighted.sum() / late.weights.sum()
    return jnp.where(late.finite & jnp.isfinite(early).all(), loss, jnp.inf)


def train(task: Task, recipe: Recipe, data: Data, num_steps: int, key: PRNGKeyArray) -> Run:
    """Trains one classifier from its initial weights.

    Args:
        task: The inner problem.
        recipe: How it is trained.
        data: The task's data.
        num_steps: Length of the run.
        key: Fixes initial weights, batches and all draws.
    """
    state, losses = advance(task, recipe, init(task, recipe, key), data, num_steps, key)
    answer = recipe.answer(state.params, state.optimizer_state)
    if task.finish is not None:
        answer = task.finish(answer, data, key)
    finite = [jnp.isfinite(numbers).all() for numbers in (losses, *jax.tree.leaves(answer))]
    return Run(answer, losses, ~jnp.stack(finite).all())
