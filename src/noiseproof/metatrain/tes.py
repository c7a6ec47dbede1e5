"""Truncated evolution strategies: a truncation's losses credited to its own perturbation.

Both runs of a pair set out from one state at every truncation, and the one above goes on. What
theta did to the run before the truncation is forgotten: the estimate has less variance than a
persistent one and follows another gradient than that of the whole run, the truncated one.

Source: Metz, Maheswaranathan, Nixon, Freeman, Sohl-Dickstein: Understanding and correcting
pathologies in the training of learned optimizers, arXiv 1810.10180; Vicol, Metz, Sohl-Dickstein,
arXiv 2112.13835, on its bias.
"""

import jax
import optax
from jaxtyping import PRNGKeyArray

from noiseproof.inner_loop import InnerState, Losses
from noiseproof.metatrain.antithetic import (
    check_pairs,
    draw_eps,
    pair_gradient,
    twins,
    unroll_pair,
)
from noiseproof.metatrain.objective import Objective, check_objective
from noiseproof.metatrain.staggered import Particle, staggered
from noiseproof.metatrain.unrolling import start_run
from noiseproof.types import Data, GradientEstimator, Theta


def tes(objective: Objective, *, truncation: int, num_pairs: int, std: float) -> GradientEstimator:
    """Truncated evolution strategies.

    Args:
        objective: What is estimated.
        truncation: Inner steps a truncation; divides the run, and is whole loss intervals.
        num_pairs: Antithetic pairs; their first runs end early, so that runs are staggered.
        std: Standard deviation of a perturbation of theta.

    Raises:
        ValueError: The objective's parts do not fit, a truncation that does not divide the run,
            no pair, or a std that is not positive.
    """
    check_objective(objective)
    check_pairs(num_pairs, std)

    def advance(
        objective: Objective, theta: Theta, particle: Particle, data: Data, key: PRNGKeyArray
    ) -> tuple[InnerState, tuple[Theta, Losses]]:
        eps = draw_eps(theta, key)
        runs, losses = unroll_pair(
            objective,
            theta,
            optax.tree.scale(std, eps),
            twins(particle.carry),
            data,
            truncation,
            particle.run_key,
        )
        above = jax.tree.map(lambda leaf: leaf[0], runs)
        return above, (pair_gradient(losses, eps, std), losses)

    return staggered(
        objective,
        start_run,
        advance,
        truncation=truncation,
        num_particles=num_pairs,
        runs_each=2,
    )
