"""Meta-training on several tasks at once, so that a rule does not fit one task only.

Tasks differ in shapes, so that they are no axis of a vectorized program: each has an estimator of
its own, and the meta-gradient is the weighted mean of theirs. Each task also has perturbations of
its own. At one cost, K tasks whose gradients agree have K times less variance so than under
perturbations that all tasks share: there are K times as many. Where there are many tasks, a few of
them take their turn at every outer step.

On `select` every task is scored by itself, over runs of its own length.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, Scalar

from noiseproof.metatrain.objective import Objective
from noiseproof.metatrain.target import Target, target_of
from noiseproof.types import Data, GradientEstimator, MetaEstimate, Theta


class JointState(NamedTuple):
    """Attributes: `turn`, the task whose turn is next; `parts`, every estimator's own state."""

    turn: Int[Array, ""]
    parts: tuple[Any, ...]


def joint_estimator(
    estimators: Sequence[GradientEstimator], *, weights: Sequence[float], at_once: int = 0
) -> GradientEstimator:
    """The weighted mean of several estimators; data are a tuple, one part for each.

    Args:
        estimators: One for each task.
        weights: Of the tasks, relative to each other; positive.
        at_once: Tasks that are estimated at an outer step, one after another in their order; 0 for
            all of them.

    Raises:
        ValueError: No task, a weight that is not positive, another number of weights, or more
            tasks at once than there are.
    """
    shares = jnp.array(shares_of(weights, len(estimators)))
    num_tasks = len(estimators)
    if not 0 <= at_once <= num_tasks:
        raise ValueError(f"At most {num_tasks} tasks can be taken at once, got {at_once}.")
    num_taken = at_once or num_tasks

    def init(theta: Theta, data: Data, key: PRNGKeyArray) -> JointState:
        keys = jax.random.split(key, num_tasks)
        parts = zip(estimators, data, keys, strict=True)
        started = (estimator.init(theta, own, key) for estimator, own, key in parts)
        return JointState(jnp.zeros((), jnp.int32), tuple(started))

    def estimate(
        theta: Theta, state: JointState, data: Data, key: PRNGKeyArray
    ) -> tuple[MetaEstimate, JointState]:
        def of_task(
            index: int, parts: tuple[Any, ...], key: PRNGKeyArray
        ) -> tuple[tuple[Any, ...], MetaEstimate]:
            found, after = estimators[index].estimate(theta, parts[index], data[index], key)
            return (*parts[:index], after, *parts[index + 1 :]), found

        branches = [partial(of_task, index) for index in range(num_tasks)]

        def take_turn(
            parts: tuple[Any, ...], taken: tuple[Int[Array, ""], PRNGKeyArray]
        ) -> tuple[tuple[Any, ...], MetaEstimate]:
            index, key = taken
            return jax.lax.switch(index, branches, parts, key)

        indices = (state.turn + jnp.arange(num_taken)) % num_tasks
        turns = indices, jax.random.split(key, num_taken)
        parts, estimates = jax.lax.scan(take_turn, state.parts, turns)
        # In expectation over turns, the weighted mean of all.
        shown = shares[indices] * num_tasks / num_taken
        return mean_estimate(estimates, shown), JointState((indices[-1] + 1) % num_tasks, parts)

    steps = [estimator.num_inner_steps for estimator in estimators]
    return GradientEstimator(init, estimate, round(sum(steps) * num_taken / num_tasks))


def mean_estimate(estimates: MetaEstimate, shares: Float[Array, " tasks"]) -> MetaEstimate:
    """The weighted mean of independent estimates.

    A task all of whose particles diverged adds nothing to the gradient, and no loss; the
    signal-to-noise ratio is nan where one of theirs is.

    Args:
        estimates: Those of all tasks, stacked along a first axis.
        shares: Their weights.
    """

    def weighted(leaves: Float[Array, "tasks ..."]) -> Float[Array, "..."]:
        return jnp.tensordot(shares, leaves, axes=1)

    gradient = jax.tree.map(weighted, estimates.gradient)
    norms = shares * jax.vmap(optax.tree.norm)(estimates.gradient)
    # Variances of independent estimates add up.
    error = jnp.linalg.norm(norms / jnp.maximum(estimates.signal_to_noise, 1e-20))
    losses = estimates.meta_loss
    counted = shares * jnp.isfinite(losses)
    return MetaEstimate(
        gradient=gradient,
        meta_loss=jnp.nansum(counted * losses) / counted.sum(),
        signal_to_noise=optax.tree.norm(gradient) / jnp.maximum(error, 1e-20),
        diverged_share=estimates.diverged_share.mean(),
    )


def joint_target(objectives: Sequence[Objective], *, weights: Sequence[float]) -> Target:
    """The weighted mean of all tasks' losses on `select`; data are a tuple, one part for each.

    Args:
        objectives: One for each task, of the same theta.
        weights: Of the tasks' meta-losses, relative to each other; positive.

    Raises:
        ValueError: No task, a weight that is not positive, or another number of weights.
    """
    shares = shares_of(weights, len(objectives))
    targets = [target_of(objective) for objective in objectives]

    def refresh(data: Data, key: PRNGKeyArray) -> tuple[Data, ...]:
        keys = jax.random.split(key, len(targets))
        parts = zip(targets, data, keys, strict=True)
        return tuple(target.refresh(own, key) for target, own, key in parts)

    def score(theta: Theta, data: Data, num_runs: int, key: PRNGKeyArray) -> Scalar:
        keys = jax.random.split(key, len(targets))
        parts = zip(targets, data, keys, strict=True)
        losses = [target.score(theta, own, num_runs, key) for target, own, key in parts]
        return jnp.array(shares) @ jnp.stack(losses)

    return Target(targets[0].init, refresh, score, targets[0].mesh)


def shares_of(weights: Sequence[float], num_tasks: int) -> list[float]:
    """Weights that sum to one.

    Raises:
        ValueError: No task, a weight that is not positive, or another number of weights.
    """
    if num_tasks < 1:
        raise ValueError("Meta-training needs at least one task, got none.")
    if len(weights) != num_tasks:
        raise ValueError(f"There must be {num_tasks} weights of tasks, got {len(weights)}.")
    if not all(0.0 < weight < float("inf") for weight in weights):
        raise ValueError(f"Weights of tasks must be positive, got {list(weights)}.")
    return [weight / sum(weights) for weight in weights]
