"""Meta-training on several tasks at once, so that a rule does not fit one task only.

Tasks differ in shapes, so that they are no axis of a vectorized program: each has an estimator and
programs of its own, which are compiled and run side by side, a thread for each core. The
meta-gradient is the weighted mean of theirs. Each task also has perturbations of its own. At one
cost, K tasks whose gradients agree have K times less variance so than under perturbations that all
tasks share: there are K times as many. Where there are many tasks, a few of them take their turn at
every outer step.

On `select` every task is scored by itself, over runs of its own length.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.stages import Compiled
from jaxtyping import Array, Float, Int, PRNGKeyArray, Scalar

from noiseproof.metatrain.objective import Objective
from noiseproof.metatrain.target import Target, target_of
from noiseproof.types import Data, GradientEstimator, MetaEstimate, OnProgram, Theta

ON_CPU = {"xla_cpu_use_fusion_emitters": False}
"""How programs are compiled on a CPU. By default each of their kernels is an object of its own: a
task of `universal` takes 2,000 to 8,000 mappings of memory, and Linux allows a process 65,530. So
it is a third of them, a fifth less time to compile, and as fast."""


class JointState(NamedTuple):
    """Attributes: `turn`, the task whose turn is next; `parts`, every estimator's own state."""

    turn: Int[Array, ""]
    parts: tuple[Any, ...]


class Undrawn(NamedTuple):
    """A task's data before its pool of outer images is drawn, by the program that takes it.

    Attributes:
        data: The task's data.
        key: Fixes the pool.
    """

    data: Data
    key: PRNGKeyArray


def joint(
    objectives: Sequence[Objective],
    estimators: Sequence[GradientEstimator],
    *,
    weights: Sequence[float],
    at_once: int = 0,
) -> tuple[Target, GradientEstimator]:
    """The weighted mean of several tasks' losses, and the estimator of its gradient.

    Data are a tuple, one part for each task.

    Args:
        objectives: One for each task, of the same theta.
        estimators: Of the same tasks.
        weights: Of the tasks' meta-losses, relative to each other; positive.
        at_once: Tasks that are estimated at an outer step, in their order; 0 for all of them.

    Raises:
        ValueError: No task, a weight that is not positive, another number of weights, or more
            tasks at once than there are.
    """
    shares = jnp.array(shares_of(weights, len(objectives)))
    num_tasks = len(objectives)
    if not 0 <= at_once <= num_tasks:
        raise ValueError(f"At most {num_tasks} tasks can be taken at once, got {at_once}.")
    num_taken = at_once or num_tasks
    targets = [target_of(objective) for objective in objectives]
    mesh = targets[0].mesh
    pairs = list(zip(targets, estimators, strict=True))
    options = ON_CPU if jax.default_backend() == "cpu" else {}
    compiled_so = partial(jax.jit, compiler_options=options)
    estimates = [compiled_so(estimate_of(target, estimator)) for target, estimator in pairs]
    scores = [compiled_so(score_of(target), static_argnums=2) for target in targets]
    compiled: dict[int, Compiled] = {}

    def side_by_side(action: Callable[[int], Any], indices: Sequence[int]) -> list[Any]:
        # Programs that exchange something must start in the same order on every device.
        with ThreadPoolExecutor(1 if mesh is not None else os.cpu_count()) as pool:
            return list(pool.map(action, indices))

    def init(theta: Theta, data: Data, key: PRNGKeyArray) -> JointState:
        parts = zip(estimators, data, jax.random.split(key, num_tasks), strict=True)
        started = (estimator.init(theta, own, key) for estimator, own, key in parts)
        return JointState(jnp.zeros((), jnp.int32), tuple(started))

    def compile_all(
        theta: Theta,
        state: JointState,
        data: Sequence[Undrawn],
        key: PRNGKeyArray,
        *,
        on_program: OnProgram = lambda _done, _total: None,
    ) -> list[Compiled]:
        def of_task(index: int) -> None:
            lowered = estimates[index].lower(theta, state.parts[index], data[index], key)
            compiled[index] = lowered.compile()
            on_program(len(compiled), num_tasks)

        side_by_side(of_task, [index for index in range(num_tasks) if index not in compiled])
        return [compiled[index] for index in range(num_tasks)]

    def estimate(
        theta: Theta, state: JointState, data: Sequence[Undrawn], key: PRNGKeyArray
    ) -> tuple[MetaEstimate, JointState]:
        programs = compile_all(theta, state, data, key)
        keys = jax.random.split(key, num_taken)
        indices = [(int(state.turn) + place) % num_tasks for place in range(num_taken)]

        def of_turn(place: int) -> tuple[MetaEstimate, Any]:
            index = indices[place]
            found = programs[index](theta, state.parts[index], data[index], keys[place])
            return jax.block_until_ready(found)

        found = side_by_side(of_turn, range(num_taken))
        parts = list(state.parts)
        for index, (_, after) in zip(indices, found, strict=True):
            parts[index] = after
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[one for one, _ in found])
        # In expectation over turns, the weighted mean of all.
        shown = shares[jnp.array(indices)] * num_tasks / num_taken
        turn = jnp.int32((indices[-1] + 1) % num_tasks)
        return mean_estimate(stacked, shown), JointState(turn, tuple(parts))

    def refresh(data: Data, key: PRNGKeyArray) -> tuple[Undrawn, ...]:
        return tuple(map(Undrawn, data, jax.random.split(key, num_tasks)))

    def score(theta: Theta, data: Sequence[Undrawn], num_runs: int, key: PRNGKeyArray) -> Scalar:
        keys = jax.random.split(key, num_tasks)

        def of_task(index: int) -> Scalar:
            loss = scores[index](theta, data[index], num_runs, keys[index])
            return jax.block_until_ready(loss)

        return shares @ jnp.stack(side_by_side(of_task, range(num_tasks)))

    steps = sum(estimator.num_inner_steps for estimator in estimators)
    num_inner_steps = round(steps * num_taken / num_tasks)
    return (
        Target(targets[0].init, refresh, score, mesh),
        GradientEstimator(init, estimate, num_inner_steps, compile_all),
    )


def estimate_of(target: Target, estimator: GradientEstimator) -> Callable[..., Any]:
    """One task's estimate, which draws its pool first."""

    def estimate(
        theta: Theta, state: Any, undrawn: Undrawn, key: PRNGKeyArray
    ) -> tuple[MetaEstimate, Any]:
        return estimator.estimate(theta, state, target.refresh(*undrawn), key)

    return estimate


def score_of(target: Target) -> Callable[..., Scalar]:
    """One task's score, which draws its pool first."""

    def score(theta: Theta, undrawn: Undrawn, num_runs: int, key: PRNGKeyArray) -> Scalar:
        return target.score(theta, target.refresh(*undrawn), num_runs, key)

    return score


@jax.jit
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
