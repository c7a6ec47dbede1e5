"""Backpropagation through inner training, truncated or through the whole run.

Exact and cheap where the loss is smooth in theta; where inner training is chaotic its gradients
explode, and where it is truncated it forgets what theta did before. Each loss interval is gone
through again on the way back, so that only the states between intervals are kept.

Source: Metz et al., arXiv 1810.10180; on rematerialization Chen, Xu, Zhang, Guestrin: Training
deep nets with sublinear memory cost, arXiv 1604.06174.
"""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import PRNGKeyArray, Scalar

from noiseproof.inner_loop import InnerState, Losses
from noiseproof.metatrain.objective import Objective, check_objective, check_whole_runs
from noiseproof.metatrain.staggered import Particle, staggered
from noiseproof.metatrain.unrolling import start_run, unroll
from noiseproof.types import Data, GradientEstimator, Theta


def truncated_backprop(
    objective: Objective, *, truncation: int, num_runs: int
) -> GradientEstimator:
    """Backpropagation through one truncation of every run.

    Args:
        objective: What is estimated.
        truncation: Inner steps a truncation; divides the run, and is whole loss intervals.
        num_runs: Inner runs; the first end early, so that runs are staggered.

    Raises:
        ValueError: The objective's parts do not fit, a truncation that does not divide the run,
            or no run.
    """
    check_objective(objective)
    if num_runs < 1:
        raise ValueError(f"num_runs must be positive, got {num_runs}.")

    def advance(
        objective: Objective, theta: Theta, particle: Particle, data: Data, _key: PRNGKeyArray
    ) -> tuple[InnerState, tuple[Theta, Losses]]:
        def mean_loss(theta: Theta) -> tuple[Scalar, tuple[InnerState, Losses]]:
            run, losses = unroll(
                objective, theta, particle.carry, data, truncation, particle.run_key
            )
            return losses.weighted.mean(), (run, losses)

        (_, (run, losses)), gradient = jax.value_and_grad(mean_loss, has_aux=True)(theta)
        return run, (gradient, lone(losses, gradient))

    return staggered(
        objective,
        start_run,
        advance,
        truncation=truncation,
        num_particles=num_runs,
        runs_each=1,
    )


def full_backprop(objective: Objective, *, num_runs: int) -> GradientEstimator:
    """Backpropagation through whole runs, which must be of constant length.

    Args:
        objective: What is estimated.
        num_runs: Inner runs of an estimate.
    """
    check_whole_runs(objective)
    return truncated_backprop(objective, truncation=objective.num_steps, num_runs=num_runs)


def lone(losses: Losses, gradient: Theta) -> Losses:
    """The losses of a particle that is one run; with an exploded gradient it counts as diverged."""
    finite = losses.finite & jnp.isfinite(ravel_pytree(gradient)[0]).all()
    return jax.tree.map(lambda leaf: leaf[None], losses._replace(finite=finite))
