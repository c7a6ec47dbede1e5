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

import optax
from jaxtyping import PRNGKeyArray

from noiseproof.inner_loop import InnerState, Losses
from noiseproof.metatrain.antithetic import (
    check_pairs,
    draw_eps,
    pair_gradient,
    start_pair,
    unroll_pair,
)
from noiseproof.metatrain.objective import Objective, check_objective
from noiseproof.metatrain.staggered import Particle, choose, staggered
from noiseproof.types import Data, GradientEstimator, Theta


class Pair(NamedTuple):
    """What a pair of runs carries along.

    Attributes:
        runs: Both runs, above and below along the first axis.
        eps: The perturbation in force, in units of std.
        xi: The sum of all different perturbations that the runs have felt, likewise.
    """

    runs: InnerState
    eps: Theta
    xi: Theta


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
    if resample_every < 1:
        raise ValueError(f"resample_every must be positive, got {resample_every}.")

    def start(objective: Objective, theta: Theta, run_key: PRNGKeyArray) -> Pair:
        zeros = optax.tree.zeros_like(theta)
        return Pair(start_pair(objective, theta, run_key), zeros, zeros)

    def advance(
        objective: Objective, theta: Theta, particle: Particle, data: Data, key: PRNGKeyArray
    ) -> tuple[Pair, tuple[Theta, Losses]]:
        pair = particle.carry
        new = particle.age % resample_every == 0
        eps = choose(new, draw_eps(theta, key), pair.eps)
        xi = choose(new, optax.tree.add(pair.xi, eps), pair.xi)
        runs, losses = unroll_pair(
            objective,
            theta,
            optax.tree.scale(std, eps),
            pair.runs,
            data,
            truncation,
            particle.run_key,
        )
        return Pair(runs, eps, xi), (pair_gradient(losses, xi, std), losses)

    return staggered(
        objective, start, advance, truncation=truncation, num_particles=num_pairs, runs_each=2
    )


def pes(objective: Objective, *, truncation: int, num_pairs: int, std: float) -> GradientEstimator:
    """Persistent evolution strategies: a new perturbation every truncation (arXiv 2112.13835).

    Args:
        objective: What is estimated.
        truncation: Inner steps a truncation; divides the run, and is whole loss intervals.
        num_pairs: Antithetic pairs; their first runs end early, so that runs are staggered.
        std: Standard deviation of a perturbation of theta.
    """
    return gpes(objective, truncation=truncation, num_pairs=num_pairs, std=std, resample_every=1)


def nres(objective: Objective, *, truncation: int, num_pairs: int, std: float) -> GradientEstimator:
    """Noise-reuse evolution strategies: one perturbation a run (arXiv 2304.12180).

    Args:
        objective: What is estimated.
        truncation: Inner steps a truncation; divides the run, and is whole loss intervals.
        num_pairs: Antithetic pairs; their first runs end early, so that runs are staggered.
        std: Standard deviation of a perturbation of theta.
    """
    return gpes(
        objective,
        truncation=truncation,
        num_pairs=num_pairs,
        std=std,
        resample_every=max(objective.num_steps // max(truncation, 1), 1),
    )
