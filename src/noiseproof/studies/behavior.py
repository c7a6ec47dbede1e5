"""What an optimizer does: how far it moves each tensor, how large it keeps it, how it answers.

The step as a function of the gradient at a frozen state follows Maheswaranathan, Sussillo, Metz,
Sun, Sohl-Dickstein: Reverse engineering learned optimizers, arXiv 2011.02159: its slope at zero
is the effective learning rate, where it is flat the gradient is clipped, and its value at zero is
what the optimizer does by itself.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from noiseproof import inner_loop
from noiseproof.types import Data, Params, Recipe, Task

NUM_STRETCHES = 10
"""Parts of a run after each of which its state is kept."""

FACTORS = (-4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0)
"""What the gradient is multiplied by, where the step is a function of it."""

NUM_COASTING = 50
"""Steps without a gradient."""


class Watched(NamedTuple):
    """A run that was watched.

    Attributes:
        run: As `inner_loop.train` gives it.
        weight_norms: Norm of every tensor before every step.
        update_norms: Norm of what is added to it.
        states: After each tenth of the run, along the first axis of every array.
    """

    run: inner_loop.Run
    weight_norms: Float[Array, "steps tensors"]
    update_norms: Float[Array, "steps tensors"]
    states: inner_loop.InnerState


class Answers(NamedTuple):
    """How an optimizer answers at a frozen state.

    Attributes:
        steps: For each of `FACTORS` times the gradient of a batch, the step against that gradient,
            relative to the norm of the tensor.
        coasting: The norm of every tensor after so many steps without a gradient, relative to that
            before, from 0 to `NUM_COASTING` steps.
    """

    steps: Float[Array, "factors tensors"]
    coasting: Float[Array, "coasting tensors"]


def watch(task: Task, recipe: Recipe, data: Data, num_steps: int, key: PRNGKeyArray) -> Watched:
    """Trains one classifier as `inner_loop.train` does, and watches it.

    Args:
        task: The inner problem.
        recipe: How it is trained.
        data: The task's data.
        num_steps: Length of the run, at least `NUM_STRETCHES`.
        key: Fixes initial weights, batches and all draws.

    Raises:
        ValueError: The run is too short.
    """
    if num_steps < NUM_STRETCHES:
        raise ValueError(f"num_steps must be at least {NUM_STRETCHES} to watch, got {num_steps}.")

    def one_step(state: inner_loop.InnerState, _: None) -> tuple[Any, Any]:
        after, loss = inner_loop.step(task, recipe, state, data, key)
        moved = optax.tree.sub(after.params, state.params)
        return after, (loss, norms(state.params), norms(moved))

    def stretch(state: inner_loop.InnerState, _: None) -> tuple[Any, Any]:
        after, seen = jax.lax.scan(one_step, state, length=num_steps // NUM_STRETCHES)
        return after, (seen, after)

    state = inner_loop.init(task, recipe, key)
    state, (seen, states) = jax.lax.scan(stretch, state, length=NUM_STRETCHES)
    seen = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), seen)
    rest = num_steps % NUM_STRETCHES
    if rest:
        state, more = jax.lax.scan(one_step, state, length=rest)
        seen = jax.tree.map(lambda one, two: jnp.concatenate([one, two]), seen, more)
    losses, weight_norms, update_norms = seen
    params = recipe.answer(state.params, state.optimizer_state)
    params = params if task.finish is None else task.finish(params, data, key)
    run = inner_loop.Run(params, losses, ~jnp.isfinite(losses).all())
    return Watched(run, weight_norms, update_norms, states)


def norms(params: Params) -> Float[Array, " tensors"]:
    """The Euclidean norm of every tensor."""
    return jnp.stack([jnp.linalg.norm(leaf.ravel()) for leaf in jax.tree.leaves(params)])


def answers(
    task: Task, recipe: Recipe, data: Data, state: inner_loop.InnerState, key: PRNGKeyArray
) -> Answers:
    """How a recipe's optimizer answers at a frozen state; draws of the recipe are left out.

    Args:
        task: The inner problem.
        recipe: How it is trained.
        data: The task's data.
        state: Of a run, see `watch`.
        key: Draws the batch whose gradient is scaled.
    """
    grads = jax.grad(task.loss)(state.params, data, key)
    sizes, lengths = norms(state.params) + 1e-30, norms(grads) + 1e-30

    def from_factor(factor: Float[Array, ""]) -> tuple[Array, Array]:
        def one_step(carried: tuple[Params, Any], scale: Float[Array, ""]) -> tuple[Any, Any]:
            params, optimizer_state = carried
            scaled = optax.tree.scale(scale, grads)
            updates, optimizer_state = recipe.optimizer.update(scaled, optimizer_state, params)
            along = jax.tree.map(lambda update, grad: -jnp.vdot(update, grad), updates, grads)
            params = optax.apply_updates(params, updates)
            step = jnp.stack(jax.tree.leaves(along)) / lengths / sizes
            return (params, optimizer_state), (step, norms(params) / sizes)

        # The gradient of one step alone, then none: of a factor of zero, none at all.
        factors = jnp.zeros(NUM_COASTING).at[0].set(factor)
        _, (steps, left) = jax.lax.scan(one_step, (state.params, state.optimizer_state), factors)
        return steps[0], left

    steps, left = jax.vmap(from_factor)(jnp.array(FACTORS))
    coasting = left[FACTORS.index(0.0)]
    return Answers(steps, jnp.concatenate([jnp.ones((1, sizes.size)), coasting]))
