"""Generalized persistent evolution strategies: PES, NRES and all between.

Runs go on from one estimate to the next, a truncation at a time, and a truncation's losses are
credited to the sum of all perturbations that the run has felt, which keeps the estimate unbiased
where plain truncation is not. PES draws a new perturbation every truncation; NRES keeps one for
the whole run, which lowers the variance; between them lie the others.

Source: Vicol, Metz, Sohl-Dickstein: Unbiased gradient estimation in unrolled computation graphs
with persistent evolution strategies, arXiv 2112.13835; Li, Harrison, Sohl-Dickstein, Smith,
Metz: Noise-reuse in online evolution strategies, arXiv 2304.12180.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from noiseproof.inner_loop import InnerState
from noiseproof.metatrain.antithetic import (
    Losses,
    Objective,
    check_objective,
    check_pairs,
    combine,
    draw_eps,
    pair_gradient,
    pair_keys,
    start_pair,
    unroll_pair,
)
from noiseproof.types import Data, GradientEstimator, MetaEstimate, Theta


class PairState(NamedTuple):
    """A pair between two truncations.

    Attributes:
        runs: Both runs, above and below along the first axis.
        run_key: Fixes the runs' weights and batches.
        eps: The perturbation in force, in units of std.
        xi: The sum of all different perturbations that the runs have felt, likewise.
        age: Truncations since the runs began.
        last: The age at which new runs begin.
    """

    runs: InnerState
    run_key: PRNGKeyArray
    eps: Theta
    xi: Theta
    age: Int[Array, ""]
    last: Int[Array, ""]


def gpes(
    objective: Objective, *, truncation: int, num_pairs: int, std: float, resample_every: int
) -> GradientEstimator:
    """Persistent evolution strategies with a perturbation kept over several truncations.

    Args:
        objective: What is estimated.
        truncation: Inner steps a truncation; divides the run, and is whole loss intervals.
        num_pairs: Antithetic pairs; their first runs end early, so that runs are staggered.
        std: Standard deviation of a perturbation of theta.
        resample_every: Truncations that a perturbation is kept for.

    Raises:
        ValueError: The objective's parts do not fit, a truncation that does not divide the run,
            no pair, a std that is not positive, or a `resample_every` below 1.
    """
    check_objective(objective)
    check_pairs(num_pairs, std)
    check_truncation(objective, truncation)
    if resample_every < 1:
        raise ValueError(f"resample_every must be positive, got {resample_every}.")
    num_truncations = objective.num_steps // truncation

    def start(theta: Theta, last: Int[Array, ""], run_key: PRNGKeyArray) -> PairState:
        zeros = optax.tree.zeros_like(theta)
        runs = start_pair(objective, theta, run_key)
        return PairState(runs, run_key, zeros, zeros, jnp.zeros((), jnp.int32), last)

    def one_pair(
        theta: Theta, pair: PairState, data: Data, key: PRNGKeyArray
    ) -> tuple[PairState, tuple[Theta, Losses]]:
        run_key, eps_key = jax.random.split(key)
        fresh = start(theta, jnp.int32(num_truncations), run_key)
        pair = choose(pair.age == pair.last, fresh, pair)
        new = pair.age % resample_every == 0
        eps = choose(new, draw_eps(theta, eps_key), pair.eps)
        xi = choose(new, optax.tree.add(pair.xi, eps), pair.xi)
        runs, losses = unroll_pair(
            objective,
            theta,
            optax.tree.scale(std, eps),
            pair.runs,
            data,
            truncation,
            pair.run_key,
        )
        pair = PairState(runs, pair.run_key, eps, xi, pair.age + 1, pair.last)
        return pair, (pair_gradient(losses, xi, std), losses)

    def init(theta: Theta, _data: Data, key: PRNGKeyArray) -> PairState:
        index = jnp.arange(num_pairs)
        last = num_truncations - index * num_truncations // num_pairs % num_truncations
        keys = pair_keys(num_pairs, key)
        return jax.vmap(lambda last, key: start(theta, last, key))(last.astype(jnp.int32), keys)

    def estimate(
        theta: Theta, state: PairState, data: Data, key: PRNGKeyArray
    ) -> tuple[MetaEstimate, PairState]:
        keys = pair_keys(num_pairs, key)
        state, found = jax.vmap(lambda pair, key: one_pair(theta, pair, data, key))(state, keys)
        return combine(*found), state

    return GradientEstimator(init, estimate, 2 * num_pairs * truncation)


def pes(objective: Objective, *, truncation: int, num_pairs: int, std: float) -> GradientEstimator:
    """`gpes` with a new perturbation every truncation (arXiv 2112.13835)."""
    return gpes(objective, truncation=truncation, num_pairs=num_pairs, std=std, resample_every=1)


def nres(objective: Objective, *, truncation: int, num_pairs: int, std: float) -> GradientEstimator:
    """`gpes` with one perturbation a run (arXiv 2304.12180)."""
    return gpes(
        objective,
        truncation=truncation,
        num_pairs=num_pairs,
        std=std,
        resample_every=max(objective.num_steps // max(truncation, 1), 1),
    )


def check_truncation(objective: Objective, truncation: int) -> None:
    """Raises ValueError where truncations do not fill the run or cut a loss interval."""
    num_steps, interval = objective.num_steps, objective.loss_interval
    if truncation < 1 or num_steps % truncation:
        allowed = [length for length in range(1, num_steps + 1) if num_steps % length == 0]
        nearest = min(allowed, key=lambda length: abs(length - truncation))
        raise ValueError(
            f"truncation must divide num_steps = {num_steps}, got {truncation}; "
            f"the nearest that does is {nearest}."
        )
    if truncation % interval:
        raise ValueError(
            f"truncation must be a multiple of loss_interval = {interval}, got {truncation}."
        )


def choose(condition: Bool[Array, ""], when_true: Theta, when_false: Theta) -> Theta:
    """One of two pytrees, leaf by leaf."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), when_true, when_false)
