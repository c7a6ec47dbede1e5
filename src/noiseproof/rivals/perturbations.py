"""Where a loss is taken instead of at the weights: uphill of them, or near them at random.

Sharpness-aware minimization descends the loss of the worst weights near by, at the cost of a
second gradient; multiplicative weight noise that of random ones, at the cost of a draw.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import PRNGKeyArray, Scalar

from noiseproof.layouts.layout import fit_layout
from noiseproof.types import Layout, Params, Perturb

Gradient: TypeAlias = Callable[[Params], Params]
Scales: TypeAlias = Callable[[Params], Any]
"""`params -> scales`, one for each tensor."""

ADAPTIVE_OFFSET = 0.01
"""Added to the size of every weight, so that those at zero are moved too; from the ASAM paper."""


def unscaled(params: Params) -> Any:
    """The same radius for all tensors."""
    return jax.tree.map(lambda _leaf: 1.0, params)


def by_depth(growth: float | Scalar, layout: Layout) -> Scales:
    """A radius that is `growth` times as large at the readout as at the first layer, in between
    by depth; their geometric mean is 1. After layer-wise radii such as mu-P^2's, which sharpness
    asks for as widths grow.
    """

    def scales(params: Params) -> Any:
        depths = [role.depth_fraction - 0.5 for role in fit_layout(layout, params)]
        return jax.tree.unflatten(jax.tree.structure(params), [growth**depth for depth in depths])

    return scales


def sharpness_aware(rho: float | Scalar, scales: Scales = unscaled) -> Perturb:
    """A step of length `rho` up the gradient (SAM; Foret et al., arXiv 2010.01412).

    Args:
        rho: Its length, in units of the scales.
        scales: Of the radius, by tensor.
    """

    def perturb(params: Params, grads_fn: Gradient, _key: PRNGKeyArray) -> Params:
        return _uphill(rho, scales(params), params, grads_fn)

    return perturb


def adaptive_sharpness_aware(rho: float | Scalar, scales: Scales = unscaled) -> Perturb:
    """A step up the gradient, of length `rho` in units of each weight (ASAM; Kwon et al.,
    arXiv 2102.11600): large weights are moved farther.

    Args:
        rho: Its length, in units of the weights times the scales.
        scales: Of the radius, by tensor.
    """

    def perturb(params: Params, grads_fn: Gradient, _key: PRNGKeyArray) -> Params:
        # The step is a constant, so that the gradient is the one at the end of it.
        sizes = jax.tree.map(
            lambda weight, scale: (
                scale * (jax.lax.stop_gradient(jnp.abs(weight)) + ADAPTIVE_OFFSET)
            ),
            params,
            scales(params),
        )
        return _uphill(rho, sizes, params, grads_fn)

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
    """Perturbs what is perturbed already; the first draws what it draws alone."""

    def perturb(params: Params, grads_fn: Gradient, key: PRNGKeyArray) -> Params:
        moved = first(params, grads_fn, key)
        return second(moved, grads_fn, jax.random.fold_in(key, 1))

    return perturb


def _uphill(rho: float | Scalar, sizes: Any, params: Params, grads_fn: Gradient) -> Params:
    """A step up the gradient of length `rho` in units of sizes; none where the gradient is zero."""
    step = optax.tree.mul(sizes, grads_fn(params))
    length = rho / jnp.maximum(optax.tree.norm(step), 1e-12)
    return optax.tree.add(params, optax.tree.mul(sizes, optax.tree.scale(length, step)))
