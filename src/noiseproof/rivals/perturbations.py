"""Where a loss is taken instead of at the weights: uphill of them, or near them at random.

Sharpness-aware minimization descends the loss of the worst weights near by, at the cost of a
second gradient; multiplicative weight noise that of random ones, at the cost of a draw.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import PRNGKeyArray, Scalar

from noiseproof.types import Params, Perturb

Gradient: TypeAlias = Callable[[Params], Params]

ADAPTIVE_OFFSET = 0.01
"""Added to the size of every weight, so that those at zero are moved too; from the ASAM paper."""


def sharpness_aware(rho: float | Scalar) -> Perturb:
    """A step of length `rho` up the gradient (SAM; Foret et al., arXiv 2010.01412)."""

    def perturb(params: Params, grads_fn: Gradient, _key: PRNGKeyArray) -> Params:
        return optax.tree.add(params, _with_norm(rho, grads_fn(params)))

    return perturb


def adaptive_sharpness_aware(rho: float | Scalar) -> Perturb:
    """A step up the gradient, of length `rho` in units of each weight (ASAM; Kwon et al.,
    arXiv 2102.11600): large weights are moved farther.
    """

    def perturb(params: Params, grads_fn: Gradient, _key: PRNGKeyArray) -> Params:
        # The step is a constant, so that the gradient is the one at the end of it.
        sizes = jax.tree.map(
            lambda weight: jax.lax.stop_gradient(jnp.abs(weight)) + ADAPTIVE_OFFSET, params
        )
        step = _with_norm(rho, optax.tree.mul(sizes, grads_fn(params)))
        return optax.tree.add(params, optax.tree.mul(sizes, step))

    return perturb


def weight_noise(std: float | Scalar) -> Perturb:
    """Every weight times a normal draw of mean 1 (DAMP; Trinh et al., arXiv 2406.16540).

    One draw serves the whole batch, as in the published settings for CIFAR-10.
    """

    def perturb(params: Params, _grads_fn: Gradient, key: PRNGKeyArray) -> Params:
        row, unravel = ravel_pytree(params)
        return unravel(row * (1.0 + std * jax.random.normal(key, row.shape)))

    return perturb


def one_after_another(first: Perturb, second: Perturb) -> Perturb:
    """Perturbs what is perturbed already."""

    def perturb(params: Params, grads_fn: Gradient, key: PRNGKeyArray) -> Params:
        first_key, second_key = jax.random.split(key)
        return second(first(params, grads_fn, first_key), grads_fn, second_key)

    return perturb


def _with_norm(norm: float | Scalar, tree: Params) -> Params:
    """The tree scaled to a norm; zeros stay zeros."""
    return optax.tree.scale(norm / jnp.maximum(optax.tree.norm(tree), 1e-12), tree)
