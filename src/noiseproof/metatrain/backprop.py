"""Backpropagation through inner training, truncated or through the whole run.

Exact and cheap where the loss is smooth in theta; where inner training is chaotic its gradients
explode, unless they are clipped on their way back, and where it is truncated it forgets what theta
did before. Each loss interval is gone through again on the way back, so that only the states
between intervals are kept.

Source: Metz et al., arXiv 1810.10180; on rematerialization Chen, Xu, Zhang, Guestrin: Training
deep nets with sublinear memory cost, arXiv 1604.06174.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PRNGKeyArray, Scalar

from noiseproof.inner_loop import InnerState, Losses
from noiseproof.metatrain.objective import Objective, check_objective, check_whole_runs
from noiseproof.metatrain.staggered import Particle, staggered
from noiseproof.metatrain.unrolling import start_run, unroll
from noiseproof.types import Data, GradientEstimator, Theta


def truncated_backprop(
    objective: Objective, *, truncation: int, num_runs: int, max_norm: float | None = None
) -> GradientEstimator:
    """Backpropagation through one truncation of every run.

    Args:
        objective: What is estimated.
        truncation: Inner steps a truncation; divides the run, and is whole loss intervals.
        num_runs: Inner runs; the first end early, so that runs are staggered.
        max_norm: Each run's gradient is scaled down to this Euclidean norm, so that a chaotic run
            counts no more than others. So is, with respect to the classifier's weights, what flows
            back from one loss interval to the one before, which would overflow there. None for as
            they are.

    Raises:
        ValueError: The objective's parts do not fit, a truncation that does not divide the run,
            no run, or a norm that is not positive.
    """
    check_objective(objective)
    if num_runs < 1:
        raise ValueError(f"num_runs must be positive, got {num_runs}.")
    if max_norm is not None and not max_norm > 0.0:
        raise ValueError(f"max_norm must be positive, got {max_norm}.")

    def advance(
        objective: Objective, theta: Theta, particle: Particle, data: Data, _key: PRNGKeyArray
    ) -> tuple[InnerState, tuple[Theta, Losses]]:
        def mean_loss(theta: Theta) -> tuple[Scalar, tuple[InnerState, Losses]]:
            run, losses = unroll(
                objective,
                theta,
                particle.carry,
                data,
                truncation,
                particle.run_key,
                passed_on=damped(max_norm),
            )
            return losses.weighted.mean(), (run, losses)

        (_, (run, losses)), gradient = jax.value_and_grad(mean_loss, has_aux=True)(theta)
        return run, (clipped(gradient, max_norm), lone(losses, gradient))

    return staggered(
        objective,
        start_run,
        advance,
        truncation=truncation,
        num_particles=num_runs,
        runs_each=1,
    )


def full_backprop(
    objective: Objective, *, num_runs: int, max_norm: float | None = None
) -> GradientEstimator:
    """Backpropagation through whole runs, which must be of constant length.

    Args:
        objective: What is estimated.
        num_runs: Inner runs of an estimate.
        max_norm: The greatest Euclidean norm, see `truncated_backprop`; None for any.

    Raises:
        ValueError: As `truncated_backprop`, or the objective's runs differ in length.
    """
    check_whole_runs(objective)
    whole = objective.num_steps
    return truncated_backprop(objective, truncation=whole, num_runs=num_runs, max_norm=max_norm)


def damped(max_norm: float | None) -> Callable[[InnerState], InnerState]:
    """The identity, on whose way back the gradient with respect to the weights is clipped.

    What flows back to the optimizer's state shrinks with it; a gradient that overflowed ends here.
    """
    if max_norm is None:
        return lambda state: state

    @jax.custom_vjp
    def same(state: InnerState) -> InnerState:
        return state

    def backward(_: None, flow: InnerState) -> tuple[InnerState]:
        norm = optax.tree.norm(flow.params)
        scale = jnp.minimum(1.0, max_norm / jnp.maximum(norm, 1e-20))

        def shrunk(leaf: Array) -> Array:
            if leaf.dtype == jax.dtypes.float0:
                return leaf
            return jnp.where(jnp.isfinite(leaf), leaf * scale, 0.0)

        return (jax.tree.map(shrunk, flow),)

    same.defvjp(lambda state: (state, None), backward)
    return same


def clipped(gradient: Theta, max_norm: float | None) -> Theta:
    """A gradient of at most this norm."""
    if max_norm is None:
        return gradient
    norm = optax.tree.norm(gradient)
    return optax.tree.scale(jnp.minimum(1.0, max_norm / jnp.maximum(norm, 1e-20)), gradient)


def lone(losses: Losses, gradient: Theta) -> Losses:
    """The losses of a particle that is one run; with an exploded gradient it counts as diverged."""
    finite = losses.finite & jnp.isfinite(ravel_pytree(gradient)[0]).all()
    return jax.tree.map(lambda leaf: leaf[None], losses._replace(finite=finite))
