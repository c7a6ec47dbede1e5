"""Full-length antithetic evolution strategies: each estimate takes whole runs.

Unbiased for the meta-loss smoothed over theta, at the price of one estimate a run.

Source: Salimans, Ho, Chen, Sidor, Sutskever: Evolution strategies as a scalable alternative to
reinforcement learning, arXiv 1703.03864.
"""

import jax
import optax
from jaxtyping import PRNGKeyArray

from noiseproof.inner_loop import Losses
from noiseproof.metatrain.antithetic import (
    check_pairs,
    draw_eps,
    pair_gradient,
    start_pair,
    unroll_pair,
)
from noiseproof.metatrain.objective import Objective, check_objective, check_whole_runs
from noiseproof.metatrain.particles import combine, particle_keys
from noiseproof.metatrain.sharding import over_pairs
from noiseproof.types import Data, GradientEstimator, MetaEstimate, Theta


def es(objective: Objective, *, num_pairs: int, std: float) -> GradientEstimator:
    """Full-length antithetic evolution strategies.

    Args:
        objective: What is estimated.
        num_pairs: Antithetic pairs an estimate.
        std: Standard deviation of the perturbation of theta.

    Raises:
        ValueError: The objective's parts do not fit or it draws run lengths, no pair, or a std
            that is not positive.
    """
    check_objective(objective)
    check_whole_runs(objective)
    check_pairs(num_pairs, std)

    def one_pair(shared: tuple[Theta, Data], key: PRNGKeyArray) -> tuple[Theta, Losses]:
        theta, data = shared
        eps_key, run_key = jax.random.split(key)
        eps = draw_eps(theta, eps_key)
        states = start_pair(objective, theta, run_key)
        _, losses = unroll_pair(
            objective,
            theta,
            optax.tree.scale(std, eps),
            states,
            data,
            objective.num_steps,
            run_key,
        )
        return pair_gradient(losses, eps, std), losses

    all_pairs = over_pairs(one_pair, num_pairs, objective.placement)

    def init(_theta: Theta, _data: Data, _key: PRNGKeyArray) -> tuple[()]:
        return ()

    def estimate(
        theta: Theta, state: tuple[()], data: Data, key: PRNGKeyArray
    ) -> tuple[MetaEstimate, tuple[()]]:
        return combine(*all_pairs((theta, data), particle_keys(num_pairs, key))), state

    return GradientEstimator(init, estimate, 2 * num_pairs * objective.num_steps)
