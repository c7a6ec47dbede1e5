"""Meta-training on several tasks at once, so that a rule does not fit one task only.

Tasks differ in shapes, so that they are no axis of a vectorized program: each has an estimator of
its own, and the meta-gradient is the weighted mean of theirs. Each task also has perturbations of
its own. At one cost, K tasks whose gradients agree have K times less variance so than under
perturbations that all tasks share: there are K times as many.

For `select` the tasks are one: a run trains a classifier of every task, and is scored by their
weighted mean.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PRNGKeyArray, Scalar

from noiseproof.messages import short
from noiseproof.metatrain.objective import Objective
from noiseproof.types import (
    Data,
    GradientEstimator,
    Layout,
    LearnedOptimizer,
    MetaEstimate,
    Optimizer,
    Params,
    Task,
    Theta,
)


def joint_estimator(
    estimators: Sequence[GradientEstimator], *, weights: Sequence[float]
) -> GradientEstimator:
    """The weighted mean of several estimators; state and data are tuples, one part for each.

    Args:
        estimators: One for each task.
        weights: Of the tasks, relative to each other; positive.

    Raises:
        ValueError: No task, a weight that is not positive, or another number of weights.
    """
    shares = shares_of(weights, len(estimators))

    def init(theta: Theta, data: Data, key: PRNGKeyArray) -> tuple[Any, ...]:
        keys = jax.random.split(key, len(estimators))
        parts = zip(estimators, data, keys, strict=True)
        return tuple(estimator.init(theta, own, key) for estimator, own, key in parts)

    def estimate(
        theta: Theta, state: tuple[Any, ...], data: Data, key: PRNGKeyArray
    ) -> tuple[MetaEstimate, tuple[Any, ...]]:
        keys = jax.random.split(key, len(estimators))
        parts = zip(estimators, state, data, keys, strict=True)
        estimates, states = zip(
            *(estimator.estimate(theta, before, own, key) for estimator, before, own, key in parts),
            strict=True,
        )
        return mean_estimate(estimates, shares), states

    num_inner_steps = sum(estimator.num_inner_steps for estimator in estimators)
    return GradientEstimator(init, estimate, num_inner_steps)


def mean_estimate(estimates: Sequence[MetaEstimate], shares: Sequence[float]) -> MetaEstimate:
    """The weighted mean of independent estimates.

    A task all of whose particles diverged adds nothing to the gradient, and no loss; the
    signal-to-noise ratio is nan where one of theirs is.

    Args:
        estimates: One for each task.
        shares: Their weights, which sum to one.
    """
    scaled = [
        optax.tree.scale(share, estimate.gradient)
        for share, estimate in zip(shares, estimates, strict=True)
    ]
    gradient = jax.tree.map(lambda *leaves: sum(leaves), *scaled)
    errors = [
        optax.tree.norm(part) / jnp.maximum(estimate.signal_to_noise, 1e-20)
        for part, estimate in zip(scaled, estimates, strict=True)
    ]
    losses = jnp.stack([estimate.meta_loss for estimate in estimates])
    # Variances of independent estimates add up.
    error = jnp.linalg.norm(jnp.stack(errors))
    counted = jnp.array(shares) * jnp.isfinite(losses)
    return MetaEstimate(
        gradient=gradient,
        meta_loss=jnp.nansum(counted * losses) / counted.sum(),
        signal_to_noise=optax.tree.norm(gradient) / jnp.maximum(error, 1e-20),
        diverged_share=jnp.stack([estimate.diverged_share for estimate in estimates]).mean(),
    )


def joint_objective(objectives: Sequence[Objective], *, weights: Sequence[float]) -> Objective:
    """All tasks as one, to be refreshed and scored together.

    Its params, layout and data are tuples, one part for each task; the learned optimizer acts on
    each part as if it were alone.

    Args:
        objectives: One for each task, of the same theta.
        weights: Of the tasks' meta-losses, relative to each other; positive.

    Raises:
        ValueError: No task, a weight that is not positive, another number of weights, or runs
            of several lengths.
    """
    shares = shares_of(weights, len(objectives))
    lengths = [objective.num_steps for objective in objectives]
    if len(set(lengths)) > 1:
        raise ValueError(f"num_steps must be the same for all tasks, got {short(lengths)}.")
    windows = [objective.window for objective in objectives]
    limits = [window.max_loss for window in windows]
    max_loss = sum(share * limit for share, limit in zip(shares, limits, strict=True))
    placements = [objective.placement for objective in objectives]
    in_turn = any(placement.in_turn for placement in placements)
    return objectives[0]._replace(
        task=joint_task([objective.task for objective in objectives], shares, limits),
        learned=joint_optimizer([objective.learned for objective in objectives]),
        layout=tuple(objective.layout for objective in objectives),
        window=windows[0]._replace(max_loss=max_loss),
        placement=placements[0]._replace(in_turn=in_turn),
    )


def joint_task(tasks: Sequence[Task], shares: Sequence[float], limits: Sequence[float]) -> Task:
    """A task of a classifier of every task: losses are added up, meta-losses averaged.

    Args:
        tasks: The tasks.
        shares: Their weights in the meta-loss, which sum to one.
        limits: Each task's meta-loss above counts as this, as where it is alone.
    """

    def init(key: PRNGKeyArray) -> tuple[Params, ...]:
        keys = jax.random.split(key, len(tasks))
        return tuple(task.init(key) for task, key in zip(tasks, keys, strict=True))

    def loss(params: tuple[Params, ...], data: Data, key: PRNGKeyArray) -> Scalar:
        # A sum, since its gradient is for every classifier that of its own loss.
        parts = zip(tasks, params, data, jax.random.split(key, len(tasks)), strict=True)
        return jnp.stack([task.loss(own, seen, key) for task, own, seen, key in parts]).sum()

    def meta_loss(params: tuple[Params, ...], data: Data, key: PRNGKeyArray) -> Scalar:
        parts = zip(tasks, params, data, jax.random.split(key, len(tasks)), strict=True)
        losses = jnp.stack([task.meta_loss(own, seen, key) for task, own, seen, key in parts])
        # What is not finite stays so, since it is a run that diverged.
        clipped = jnp.where(jnp.isfinite(losses), jnp.minimum(losses, jnp.array(limits)), losses)
        return jnp.array(shares) @ clipped

    def refresh(data: Data, key: PRNGKeyArray) -> tuple[Data, ...]:
        parts = zip(tasks, data, jax.random.split(key, len(tasks)), strict=True)
        return tuple(task.refresh(seen, key) for task, seen, key in parts)

    return Task(init, loss, meta_loss, refresh)


def joint_optimizer(rules: Sequence[LearnedOptimizer]) -> LearnedOptimizer:
    """Every task's learned optimizer on its part of the params; theta is the first one's."""

    def optimizer(theta: Theta, num_steps: int | Int[Array, ""], layout: Layout) -> Optimizer:
        own = [
            rule.optimizer(theta, num_steps, part) for rule, part in zip(rules, layout, strict=True)
        ]

        def start(params: Params) -> tuple[Any, ...]:
            return tuple(rule.init(part) for rule, part in zip(own, params, strict=True))

        def update(
            updates: Params, state: Any, params: Params | None = None
        ) -> tuple[tuple[Params, ...], tuple[Any, ...]]:
            seen = [None] * len(own) if params is None else params
            parts = zip(own, updates, state, seen, strict=True)
            updated = [rule.update(grads, before, part) for rule, grads, before, part in parts]
            changes, states = zip(*updated, strict=True)
            return changes, states

        return optax.GradientTransformation(start, update)

    return LearnedOptimizer(rules[0].init, optimizer)


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
