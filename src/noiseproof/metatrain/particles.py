"""Particles: runs, or pairs of runs, that each give a gradient; their keys and their mean."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PRNGKeyArray

from noiseproof.inner_loop import Losses
from noiseproof.types import MetaEstimate, Theta


def particle_keys(num_particles: int, key: PRNGKeyArray) -> Key[Array, " particles"]:
    """A key for each particle, tied to its index and not to how many there are."""
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.arange(num_particles))


def combine(gradients: Theta, losses: Losses) -> MetaEstimate:
    """The mean over particles; those of which a run diverged are left out and counted.

    Where all diverged the gradient is zero; the signal-to-noise ratio is nan where fewer than two
    did not, since one has no spread; the meta-loss is nan where no loss counts.

    Args:
        gradients: Each particle's gradient, along the first axis of every leaf.
        losses: Of the runs of each particle.
    """
    finite = losses.finite.all(axis=1)
    num_finite = jnp.maximum(finite.sum(), 1)

    def masked_mean(leaf: Float[Array, "particles ..."]) -> Float[Array, "..."]:
        mask = finite.reshape(-1, *[1] * (leaf.ndim - 1))
        return jnp.where(mask, leaf, 0.0).sum(axis=0) / num_finite

    mean = jax.tree.map(masked_mean, gradients)
    mean_square = jax.tree.map(lambda leaf: masked_mean(leaf**2), gradients)
    variance = optax.tree.sum(mean_square) - optax.tree.norm(mean, squared=True)
    error = jnp.sqrt(jnp.maximum(variance, 0.0) / jnp.maximum(num_finite - 1, 1))
    ratio = optax.tree.norm(mean) / jnp.maximum(error, 1e-20)
    return MetaEstimate(
        gradient=mean,
        meta_loss=masked_mean(losses.weighted).sum() / masked_mean(losses.weights).sum(),
        signal_to_noise=jnp.where(finite.sum() > 1, ratio, jnp.nan),
        diverged_share=(~finite).mean(),
    )
