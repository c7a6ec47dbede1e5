"""Adam on gradients of any scale: the same direction for gradients times any constant.

Adam's ε is a number of the gradient's own unit, and its squares leave the range of single precision
at 1e-23 and 1e19. So gradients are divided by the largest entry that was met so far, rounded up to
a power of two, which changes no digit of them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from noiseproof.types import Params

LEAST_EXPONENT, GREATEST_EXPONENT = -126, 126
"""Powers of two whose inverse is a number of single precision, too."""


class ScaledAdamState(NamedTuple):
    """Attributes: `exponent`, of the power of two that gradients are divided by; the others are
    Adam's, of the divided gradients."""

    exponent: Int[Array, ""]
    num_gradients: Int[Array, ""]
    mu: Params
    nu: Params


ADAM = optax.scale_by_adam(eps_root=1e-30)
"""The root of a mean square of zero, of a weight that never had a gradient, has no derivative; with
this within it has one, and the square of ε is still far above."""


def start_adam(params: Params) -> ScaledAdamState:
    """All averages zero."""
    adam: Any = ADAM.init(params)
    return ScaledAdamState(jnp.full((), LEAST_EXPONENT, jnp.int32), *adam)


def adam_direction(grads: Params, state: ScaledAdamState) -> tuple[Params, ScaledAdamState]:
    """Adam's direction with ε relative to the largest entry of the gradients so far."""
    exponent = jnp.maximum(state.exponent, exponent_of(largest(grads), state.exponent))
    shrinkage = jnp.ldexp(1.0, state.exponent - exponent)
    inner = optax.ScaleByAdamState(
        state.num_gradients, times(shrinkage, state.mu), times(shrinkage**2, state.nu)
    )
    adam: Any
    directions, adam = ADAM.update(times(jnp.ldexp(1.0, -exponent), grads), inner)
    return directions, ScaledAdamState(exponent, *adam)


def times(factor: Float[Array, ""], tree: Params) -> Params:
    """A tree times a power of two, which keeps its types."""
    return jax.tree.map(lambda leaf: leaf * factor.astype(leaf.dtype), tree)


def largest(tree: Params) -> Float[Array, ""]:
    """The largest absolute value of all entries."""
    sizes = [jnp.max(jnp.abs(leaf), initial=0.0) for leaf in jax.tree.leaves(tree)]
    # Of the scale no derivative is taken: the direction does not depend on it.
    return jax.lax.stop_gradient(jnp.max(jnp.stack(sizes), initial=0.0))


def exponent_of(size: Float[Array, ""], otherwise: Int[Array, ""]) -> Int[Array, ""]:
    """The least exponent of two whose power is above `size`; `otherwise` of what is not finite."""
    _, exponent = jnp.frexp(size)
    within = jnp.clip(exponent, LEAST_EXPONENT, GREATEST_EXPONENT)
    return jnp.where(jnp.isfinite(size), within, otherwise).astype(jnp.int32)
