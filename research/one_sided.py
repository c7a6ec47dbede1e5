"""Evolution strategies without antithetic pairs: what pairing is worth, measured against it.

Each run feels a perturbation of its own for its whole length and is compared with the mean of the
others. It is credited to the perturbation by (loss - mean of the others) · eps / std, which is
unbiased as antithetic pairs are, but keeps what batches and initial weights do to a loss.

Source: Salimans, Ho, Chen, Sidor, Sutskever, arXiv 1703.03864, without their mirrored sampling; the
perturbation is kept for a run as in Li et al., arXiv 2304.12180.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PRNGKeyArray

from noiseproof.inner_loop import InnerState, Losses
from noiseproof.metatrain import Objective
from noiseproof.metatrain.antithetic import check_pairs, draw_eps
from noiseproof.metatrain.objective import check_objective
from noiseproof.metatrain.particles import combine
from noiseproof.metatrain.staggered import Particle, choose, staggered
from noiseproof.metatrain.unrolling import start_run, unroll
from noiseproof.types import Data, GradientEstimator, MetaEstimate, Theta


class Perturbed(NamedTuple):
    """A run and the perturbation that it feels, in units of std."""

    run: InnerState
    eps: Theta


def one_sided(
    objective: Objective, *, truncation: int, num_runs: int, std: float
) -> GradientEstimator:
    """Noise-reuse evolution strategies of single runs; with a truncation as long as the run, plain
    ones.

    Args:
        objective: What is estimated.
        truncation: Inner steps a truncation; divides the run, and is whole loss intervals.
        num_runs: Inner runs, at least two; the first end early, so that runs are staggered.
        std: Standard deviation of the perturbation of theta.
    """
    check_objective(objective)
    check_pairs(num_runs - 1, std)

    def start(objective: Objective, theta: Theta, run_key: PRNGKeyArray) -> Perturbed:
        run = start_run(objective, theta, run_key)
        return Perturbed(run, optax.tree.zeros_like(theta))

    def advance(
        objective: Objective, theta: Theta, particle: Particle, data: Data, key: PRNGKeyArray
    ) -> tuple[Perturbed, tuple[Theta, Losses]]:
        carry = particle.carry
        eps = choose(particle.age == 0, draw_eps(theta, key), carry.eps)
        shifted = optax.tree.add_scale(theta, std, eps)
        run, losses = unroll(objective, shifted, carry.run, data, truncation, particle.run_key)
        return Perturbed(run, eps), (eps, jax.tree.map(lambda leaf: leaf[None], losses))

    def combine_runs(eps: Theta, losses: Losses) -> MetaEstimate:
        finite = losses.finite[:, 0]
        weighted = jnp.where(finite, losses.weighted.mean(axis=(1, 2)), 0.0)
        weights = jnp.where(finite, losses.weights.mean(axis=(1, 2)), 0.0)
        # A run is compared with the mean loss of the others that count, in its own weight.
        others = (weighted.sum() - weighted) / jnp.maximum(weights.sum() - weights, 1e-20)
        slopes = (weighted - others * weights) / std
        return combine(jax.vmap(optax.tree.scale)(slopes, eps), losses)

    return staggered(
        objective,
        start,
        advance,
        truncation=truncation,
        num_particles=num_runs,
        runs_each=1,
        combine=combine_runs,
    )
